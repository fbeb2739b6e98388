"""`mumic train`."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, cast

import typer
from rich.console import Console
from rich.markup import escape

from app.cli import training_options as options
from app.cli.dataset_options import Device, Manifest, Names, Photos, Workers
from app.errors import OptionError
from app.training.config import Precision, TrainConfig

PAPER = TrainConfig()
README = """# {name}

Fine-tuned from {init} by `mumic train` on {photos} photos for {epochs} epochs. Macro mAP on the
part validation: {validation:.3f}. The settings are in `mumic.json`.
"""


def train_command(
    *,
    init: options.Init,
    manifest: Manifest,
    photos: Photos,
    out: Annotated[Path, typer.Option(help="checkpoint directory to write")],
    names: Names = None,
    soft_targets: Annotated[
        Path | None, typer.Option(help="safetensors: a teacher's targets")
    ] = None,
    leave_out: options.LeaveOut = None,
    name: Annotated[str | None, typer.Option(help="the checkpoint's name; default: OUT's")] = None,
    version: Annotated[str, typer.Option(help="the checkpoint's version")] = "0.1.0",
    epochs: options.Epochs = PAPER.epochs,
    batch_size: options.BatchSize = PAPER.batch_size,
    parts: options.Parts = PAPER.parts,
    learning_rate: options.LearningRate = PAPER.learning_rate,
    weight_decay: options.WeightDecay = PAPER.weight_decay,
    warmup: options.Warmup = PAPER.warmup,
    positive_weight: Annotated[
        float, typer.Option(min=0, help="of texts that are no label's prompt")
    ] = 10.0,
    soft_target_weight: Annotated[float, typer.Option(min=0)] = PAPER.soft_target_weight,
    initial_logit_scale: Annotated[float | None, typer.Option()] = PAPER.initial_logit_scale,
    keep_logit_scale: Annotated[
        bool, typer.Option("--keep-logit-scale", help="start from the weights' own logit_scale")
    ] = False,
    freeze_logit_scale: Annotated[
        bool, typer.Option("--freeze-logit-scale", help="leave logit_scale where it starts")
    ] = False,
    max_logit_scale: Annotated[float, typer.Option()] = PAPER.max_logit_scale,
    freeze_text: Annotated[bool, typer.Option("--freeze-text")] = False,
    freeze_image: options.FreezeImage = False,
    feature_cache: Annotated[
        Path | None, typer.Option(help="file for the frozen tower's features, shared by runs")
    ] = None,
    min_crop: options.MinCrop = PAPER.min_crop,
    ema: options.Ema = PAPER.ema_decay,
    best_by: options.BestByOption = PAPER.best_by,
    compile: options.Compile = False,
    seed: options.Seed = PAPER.seed,
    workers: Workers = 0,
    device: Device = "auto",
    devices: options.Devices = 1,
    precision: options.PrecisionOption = "auto",
    cache_photos: options.CachePhotos = False,
    max_bad_photos: options.MaxBadPhotos = options.FEW_BAD,
) -> None:
    """Fine-tune a checkpoint on photos with labels; started again after a kill, it goes on."""
    from app.core.checkpoint import read_checkpoint, refuse_unwritable, write_checkpoint
    from app.core.runtime import choose_placement
    from app.dataset.labelled import copies_across_parts, load_labelled, refuse_untrainable
    from app.dataset.manifest import load_names
    from app.training.run import (
        discard,
        launch,
        progress_bars,
        train,
        usable_photos,
        writing_result,
    )

    checkpoint = read_checkpoint(init)
    card_name = name or out.name
    if not keep_logit_scale and (initial_logit_scale or 0) > max_logit_scale:
        raise OptionError(
            "initial-logit-scale",
            f"{initial_logit_scale} is above the cap of {max_logit_scale:.3f}, to which the first "
            "step would cut it: raise --max-logit-scale or start lower",
        )
    if not math.isfinite(positive_weight):
        raise OptionError("positive-weight", f"must be a finite number, got {positive_weight}")
    refuse_unwritable(out, name=card_name, version=version)
    placement = choose_placement(device, precision, transformer=False)
    config = TrainConfig(
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        batch_size=batch_size,
        parts=parts,
        epochs=epochs,
        warmup=warmup,
        initial_logit_scale=None if keep_logit_scale else initial_logit_scale,
        freeze_logit_scale=freeze_logit_scale,
        max_logit_scale=max_logit_scale,
        soft_target_weight=soft_target_weight,
        freeze_text=freeze_text,
        freeze_image=freeze_image,
        min_crop=min_crop,
        precision=cast(Precision, placement.precision),
        ema_decay=ema,
        best_by=best_by,
        compile=compile,
        seed=seed,
        workers=workers,
    )
    data = load_labelled(
        manifest,
        photos,
        checkpoint.labels,
        names=load_names(names, checkpoint.labels) if names else None,
        soft_targets=soft_targets,
        leave_out=leave_out or (),
        positive_weight=positive_weight,
    )
    refuse_untrainable(data, manifest)
    fabric = launch(placement, config.precision, devices)
    console = Console(stderr=True, quiet=not fabric.is_global_zero, soft_wrap=True)
    for warning in (*data.warnings, *copies_across_parts(data)):
        console.print(f"[yellow]warning:[/] {escape(f'{manifest}: {warning}')}")
    run_folder = out.with_name(f"{out.name}.run")
    with progress_bars(console, shown=fabric.is_global_zero) as progress:
        data, pixels = usable_photos(
            data,
            checkpoint.preprocess,
            manifest,
            run_folder,
            max_bad=max_bad_photos,
            keep=cache_photos,
            workers=workers,
            fabric=fabric,
            progress=progress,
        )
        trained = train(
            checkpoint,
            data,
            config,
            run_folder,
            progress=progress,
            feature_cache=feature_cache,
            fabric=fabric,
            pixels=pixels,
        )
    if not fabric.is_global_zero:
        return
    with writing_result():
        write_checkpoint(
            out,
            trained.model.cpu(),
            checkpoint.config,
            checkpoint.labels,
            name=card_name,
            version=version,
            readme=README.format(
                name=card_name,
                init=checkpoint.card.name,
                photos=len(data.indices("train")),
                epochs=epochs,
                validation=trained.measures["macro_map"],
            ),
            training={
                "init": {"name": checkpoint.card.name, "version": checkpoint.card.version},
                "photos": len(data.indices("train")),
                "texts": len(data.texts),
                "left_out": sorted(leave_out or ()),
                "settings": asdict(config),
                "devices": devices,
                "best_step": trained.best_step,
                "positive_weights": {
                    label.id: label.positive_weight for label in checkpoint.labels.labels
                },
                "positive_weight_of_other_texts": positive_weight,
            },
            metrics={"validation": trained.measures | trained.validation},
            exif_orientation=checkpoint.preprocess.exif_orientation,
        )
    discard(run_folder)
    console.print(f"{out}: macro mAP on validation {trained.measures['macro_map']:.3f}")
