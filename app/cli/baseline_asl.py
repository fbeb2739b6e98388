"""`mumic baseline asl`."""

from pathlib import Path
from typing import Annotated, cast

import typer
from rich.console import Console
from rich.markup import escape

from app.cli import training_options as options
from app.cli.dataset_options import Device, Manifest, Names, Photos, Workers
from app.training.config import Precision, TrainConfig

PAPER = TrainConfig()


def asl_command(
    *,
    init: options.Init,
    manifest: Manifest,
    photos: Photos,
    out: Annotated[Path, typer.Option(help="directory to write")],
    names: Names = None,
    leave_out: options.LeaveOut = None,
    epochs: options.Epochs = 18,
    batch_size: options.BatchSize = PAPER.batch_size,
    parts: options.Parts = PAPER.parts,
    learning_rate: options.LearningRate = 1e-4,
    weight_decay: options.WeightDecay = PAPER.weight_decay,
    warmup: options.Warmup = PAPER.warmup,
    gamma_negative: Annotated[float, typer.Option(min=0, help="plays down easy negatives")] = 4.0,
    gamma_positive: Annotated[float, typer.Option(min=0, help="and easy positives")] = 0.0,
    clip: Annotated[
        float, typer.Option(min=0, max=0.99, help="negatives below this probability cost nothing")
    ] = 0.05,
    freeze_image: options.FreezeImage = False,
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
    """Train ASL: the same image tower, a linear head, the asymmetric loss, no text tower."""
    from app.baselines import CARD_FILE, AslSettings, train_asl
    from app.core.checkpoint import read_checkpoint
    from app.core.files import refuse_foreign
    from app.core.runtime import choose_placement
    from app.dataset.labelled import copies_across_parts, load_labelled, refuse_untrainable
    from app.dataset.manifest import load_names
    from app.training.run import launch, progress_bars, usable_photos

    checkpoint = read_checkpoint(init)
    refuse_foreign(out, CARD_FILE)
    known = load_names(names, checkpoint.labels) if names else None
    data = load_labelled(
        manifest, photos, checkpoint.labels, names=known, leave_out=leave_out or ()
    )
    refuse_untrainable(data, manifest)
    placement = choose_placement(device, precision, transformer=False)
    config = TrainConfig(
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        batch_size=batch_size,
        parts=parts,
        epochs=epochs,
        warmup=warmup,
        freeze_image=freeze_image,
        min_crop=min_crop,
        precision=cast(Precision, placement.precision),
        ema_decay=ema,
        best_by=best_by,
        compile=compile,
        seed=seed,
        workers=workers,
    )
    fabric = launch(placement, config.precision, devices)
    console = Console(stderr=True, quiet=not fabric.is_global_zero, soft_wrap=True)
    for warning in (*data.warnings, *copies_across_parts(data)):
        console.print(f"[yellow]warning:[/] {escape(f'{manifest}: {warning}')}")
    with progress_bars(console, shown=fabric.is_global_zero) as progress:
        data, pixels = usable_photos(
            data,
            checkpoint.preprocess,
            manifest,
            out.with_name(f"{out.name}.run"),
            max_bad=max_bad_photos,
            keep=cache_photos,
            workers=workers,
            fabric=fabric,
            progress=progress,
        )
        trained = train_asl(
            checkpoint,
            data,
            config,
            out,
            progress=progress,
            settings=AslSettings(gamma_negative, gamma_positive, clip),
            fabric=fabric,
            pixels=pixels,
        )
    validation = trained.card.metrics["validation"]["macro_map"]
    console.print(f"{out}: macro mAP on validation {validation:.3f}")
