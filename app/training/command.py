"""`mumic train`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from app.training.config import TrainConfig

PAPER = TrainConfig()
README = """# {name}

Fine-tuned from {init} by `mumic train` on {photos} photos for {epochs} epochs. Macro mAP on the
part validation: {validation:.3f}. The settings are in `mumic.json`.
"""


def train_command(
    *,
    init: Annotated[Path, typer.Option(help="checkpoint directory to start from")],
    manifest: Annotated[Path, typer.Option(help="CSV or Parquet: file, part, positive, negative")],
    photos: Annotated[Path, typer.Option(help="folder that the manifest's files are in")],
    out: Annotated[Path, typer.Option(help="checkpoint directory to write")],
    names: Annotated[
        Path | None, typer.Option(help="YAML: what the manifest's names mean, if not label ids")
    ] = None,
    soft_targets: Annotated[
        Path | None, typer.Option(help="safetensors: a teacher's targets")
    ] = None,
    leave_out: Annotated[
        list[str] | None, typer.Option(help="use no human label of this name (repeatable)")
    ] = None,
    name: Annotated[str | None, typer.Option(help="the checkpoint's name; default: OUT's")] = None,
    version: Annotated[str, typer.Option(help="the checkpoint's version")] = "0.1.0",
    epochs: Annotated[int, typer.Option(min=1)] = PAPER.epochs,
    batch_size: Annotated[int, typer.Option(min=1)] = PAPER.batch_size,
    learning_rate: Annotated[float, typer.Option(min=0)] = PAPER.learning_rate,
    weight_decay: Annotated[float, typer.Option(min=0)] = PAPER.weight_decay,
    warmup: Annotated[float, typer.Option(min=0, max=1, help="share of steps")] = PAPER.warmup,
    positive_weight: Annotated[
        float, typer.Option(min=0, help="of texts that are no label's prompt")
    ] = 10.0,
    soft_target_weight: Annotated[float, typer.Option(min=0)] = PAPER.soft_target_weight,
    initial_logit_scale: Annotated[float | None, typer.Option()] = PAPER.initial_logit_scale,
    keep_logit_scale: Annotated[
        bool, typer.Option("--keep-logit-scale", help="start from the weights' own logit_scale")
    ] = False,
    max_logit_scale: Annotated[float, typer.Option()] = PAPER.max_logit_scale,
    freeze_text: Annotated[bool, typer.Option("--freeze-text")] = False,
    freeze_image: Annotated[
        bool, typer.Option("--freeze-image", help="all but the image projection")
    ] = False,
    feature_cache: Annotated[
        Path | None, typer.Option(help="file for the frozen tower's features, shared by runs")
    ] = None,
    min_crop: Annotated[
        float,
        typer.Option(min=0.05, max=1, help="least share of a photo that augmentation keeps"),
    ] = PAPER.min_crop,
    compile: Annotated[bool, typer.Option("--compile", help="compile the image tower")] = False,
    seed: Annotated[int, typer.Option(min=0)] = PAPER.seed,
    workers: Annotated[int, typer.Option(min=0, help="processes that load photos")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
) -> None:
    """Fine-tune a checkpoint on photos with labels; started again after a kill, it goes on."""
    from app.core.checkpoint import read_checkpoint, write_checkpoint
    from app.core.device import choose_placement
    from app.dataset.labelled import load_labelled
    from app.dataset.names import load_names
    from app.dataset.trainable import refuse_untrainable
    from app.evaluation.metrics import macro_map
    from app.training.loop import train

    console = Console(stderr=True)
    checkpoint = read_checkpoint(init)
    data = load_labelled(
        manifest,
        photos,
        checkpoint.labels,
        names=load_names(names, checkpoint.labels) if names else None,
        soft_targets=soft_targets,
        leave_out=leave_out or (),
        positive_weight=positive_weight,
    )
    for warning in data.warnings:
        console.print(f"[yellow]warning:[/] {manifest}: {warning}")
    refuse_untrainable(data, manifest)
    config = TrainConfig(
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        batch_size=batch_size,
        epochs=epochs,
        warmup=warmup,
        initial_logit_scale=None if keep_logit_scale else initial_logit_scale,
        max_logit_scale=max_logit_scale,
        soft_target_weight=soft_target_weight,
        freeze_text=freeze_text,
        freeze_image=freeze_image,
        min_crop=min_crop,
        compile=compile,
        seed=seed,
        workers=workers,
    )
    run_folder = out.with_name(f"{out.name}.run")
    with _progress(console) as progress:
        trained = train(
            checkpoint,
            data,
            config,
            run_folder,
            progress=progress,
            device=choose_placement(device, "fp32", transformer=False).device,
            feature_cache=feature_cache,
        )
    validation = {"macro_map": macro_map(list(trained.validation.values())), **trained.validation}
    card_name = name or out.name
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
            validation=validation["macro_map"],
        ),
        training={
            "init": {"name": checkpoint.card.name, "version": checkpoint.card.version},
            "photos": len(data.indices("train")),
            "texts": len(data.texts),
            "left_out": sorted(leave_out or ()),
            "settings": asdict(config),
        },
        metrics={"validation": validation},
        exif_orientation=checkpoint.preprocess.exif_orientation,
    )
    (run_folder / "state.pt").unlink(missing_ok=True)
    console.print(f"{out}: macro mAP on validation {validation['macro_map']:.3f}")


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    )
