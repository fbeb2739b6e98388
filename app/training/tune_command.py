"""`mumic tune`."""

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


def tune_command(
    *,
    init: Annotated[Path, typer.Option(help="checkpoint directory that each run starts from")],
    manifest: Annotated[Path, typer.Option(help="CSV: file, part, positive, negative")],
    photos: Annotated[Path, typer.Option(help="folder that the manifest's files are in")],
    out: Annotated[Path, typer.Option(help="folder of the search; an unfinished one goes on")],
    names: Annotated[
        Path | None, typer.Option(help="YAML: what the manifest's names mean, if not label ids")
    ] = None,
    soft_targets: Annotated[
        Path | None, typer.Option(help="safetensors: a teacher's targets")
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="runs in all")] = 15,
    random_trials: Annotated[
        int, typer.Option(min=1, help="how many of them come first, at random")
    ] = 4,
    low: Annotated[float, typer.Option(help="least initial logit_scale")] = 0.7,
    high: Annotated[float | None, typer.Option(help="largest; default: --max-logit-scale")] = None,
    max_logit_scale: Annotated[float, typer.Option(help="cap")] = PAPER.max_logit_scale,
    epochs: Annotated[int, typer.Option(min=1, help="of each run")] = PAPER.epochs,
    batch_size: Annotated[int, typer.Option(min=1)] = PAPER.batch_size,
    learning_rate: Annotated[float, typer.Option(min=0)] = PAPER.learning_rate,
    freeze_text: Annotated[bool, typer.Option("--freeze-text")] = False,
    freeze_image: Annotated[
        bool, typer.Option("--freeze-image", help="all but the image projection")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="of the search and of each run")] = PAPER.seed,
    workers: Annotated[int, typer.Option(min=0, help="processes that load photos")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
) -> None:
    """Search the best initial logit_scale by Bayesian optimisation."""
    from app.core.checkpoint import read_checkpoint
    from app.core.device import choose_placement
    from app.dataset.labelled import load_labelled
    from app.dataset.names import load_names
    from app.training.search import Search
    from app.training.tuning import TABLE_FILE, tune
    from app.training.tuning_plot import plot_trials

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    checkpoint = read_checkpoint(init)
    data = load_labelled(
        manifest,
        photos,
        checkpoint.labels,
        names=load_names(names, checkpoint.labels) if names else None,
        soft_targets=soft_targets,
    )
    config = TrainConfig(
        learning_rate=learning_rate,
        batch_size=batch_size,
        epochs=epochs,
        max_logit_scale=max_logit_scale,
        freeze_text=freeze_text,
        freeze_image=freeze_image,
        seed=seed,
        workers=workers,
    )
    search = Search(trials, random_trials, low, max_logit_scale if high is None else high)
    with _progress(console) as progress:
        results = tune(
            checkpoint,
            data,
            config,
            search,
            out,
            progress=progress,
            device=choose_placement(device, "fp32", transformer=False).device,
        )
    plot = out / "trials.png"
    plot_trials(results, plot)

    best = max(results, key=lambda result: result.macro_map)
    print(f"{'trial':>5} {'initial logit_scale':>19} {'macro mAP':>9}")
    for result in sorted(results, key=lambda result: result.initial_logit_scale):
        mark = "  best" if result is best else ""
        print(f"{result.number:5} {result.initial_logit_scale:19.4f} {result.macro_map:9.4f}{mark}")
    console.print(f"wrote {out / TABLE_FILE} and {plot}", markup=False)
    console.print(f"train with --initial-logit-scale {best.initial_logit_scale:.4f}", markup=False)


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
