"""`mumic tune`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from app.cli import training_options as options
from app.cli.dataset_options import Device, Manifest, Names, Photos, Workers
from app.training.config import TrainConfig

PAPER = TrainConfig()


def tune_command(
    *,
    init: options.Init,
    manifest: Manifest,
    photos: Photos,
    out: Annotated[Path, typer.Option(help="folder of the search; an unfinished one goes on")],
    names: Names = None,
    soft_targets: Annotated[
        Path | None, typer.Option(help="safetensors: a teacher's targets")
    ] = None,
    leave_out: options.LeaveOut = None,
    trials: Annotated[int, typer.Option(min=1, help="runs in all")] = 15,
    random_trials: Annotated[
        int, typer.Option(min=1, help="how many of them come first, at random")
    ] = 4,
    low: Annotated[float, typer.Option(help="least initial logit_scale")] = 0.7,
    high: Annotated[float | None, typer.Option(help="largest; default: --max-logit-scale")] = None,
    max_logit_scale: Annotated[float, typer.Option(help="cap")] = PAPER.max_logit_scale,
    epochs: Annotated[int, typer.Option(min=1, help="of each run")] = PAPER.epochs,
    batch_size: options.BatchSize = PAPER.batch_size,
    learning_rate: options.LearningRate = PAPER.learning_rate,
    freeze_text: Annotated[bool, typer.Option("--freeze-text")] = False,
    freeze_image: options.FreezeImage = False,
    seed: Annotated[int, typer.Option(min=0, help="of the search and of each run")] = PAPER.seed,
    workers: Workers = 0,
    device: Device = "auto",
    max_bad_photos: options.MaxBadPhotos = options.FEW_BAD,
) -> None:
    """Search the best initial logit_scale by Bayesian optimisation."""
    from app.core.checkpoint import read_checkpoint
    from app.core.runtime import choose_placement
    from app.dataset.labelled import load_labelled, refuse_untrainable
    from app.dataset.manifest import load_names
    from app.training.run import launch, progress_bars, usable_photos
    from app.training.tuning import TABLE_FILE, Search, plot_trials, refuse_unsearchable, tune

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    checkpoint = read_checkpoint(init)
    data = load_labelled(
        manifest,
        photos,
        checkpoint.labels,
        names=load_names(names, checkpoint.labels) if names else None,
        soft_targets=soft_targets,
        leave_out=leave_out or (),
    )
    refuse_untrainable(data, manifest)
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
    refuse_unsearchable(search, config)
    placement = choose_placement(device, config.precision, transformer=False)
    with progress_bars(console, shown=True) as progress:
        data, _ = usable_photos(
            data,
            checkpoint.preprocess,
            manifest,
            out.with_name(f"{out.name}.run"),
            max_bad=max_bad_photos,
            keep=False,
            workers=workers,
            fabric=launch(placement, config.precision, devices=1),
            progress=progress,
        )
        results = tune(
            checkpoint,
            data,
            config,
            search,
            out,
            progress=progress,
            device=placement.device,
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
