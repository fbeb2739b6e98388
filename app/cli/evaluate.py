"""`mumic evaluate`."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.progress import Progress

from app.cli.dataset_options import Device, Manifest, Names, Photos, Workers
from app.dataset.manifest import Part
from app.errors import DataError, OptionError


def evaluate_command(
    *,
    checkpoint: Annotated[Path, typer.Option(help="checkpoint directory to measure")],
    manifest: Manifest,
    photos: Photos,
    out: Annotated[Path, typer.Option(help="folder to write the report to")],
    names: Names = None,
    part: Annotated[Part, typer.Option(help="the photos to measure on")] = "test",
    classes: Annotated[
        Literal["names", "labels"],
        typer.Option(help="score the manifest's names by their texts, or the label set's labels"),
    ] = "names",
    top: Annotated[
        int | None, typer.Option(min=1, help="also report the N most frequent classes")
    ] = None,
    chosen: Annotated[
        list[str] | None, typer.Option(help="also report these classes together (repeatable)")
    ] = None,
    compare_with: Annotated[
        Path | None, typer.Option(help="a second checkpoint directory, on the same photos")
    ] = None,
    k: Annotated[int, typer.Option(min=1, help="K of GAP@K")] = 10,
    log: Annotated[
        Path | None, typer.Option(help="log.csv of the training run, for its logit_scale")
    ] = None,
    example: Annotated[
        str | None,
        typer.Option(help="file whose scores are shown; default: the most positive labels"),
    ] = None,
    resamples: Annotated[int, typer.Option(min=1, help="bootstrap draws of the intervals")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="of the bootstrap")] = 0,
    workers: Workers = 0,
    device: Device = "auto",
) -> None:
    """Measure a checkpoint on photos with labels: a table, and a report with plots."""
    from app.core.checkpoint import read_checkpoint
    from app.core.runtime import choose_placement
    from app.dataset.labelled import load_labelled
    from app.dataset.manifest import load_names
    from app.evaluation.metrics import draw_images, measure, scored_classes, subsets_of, texts_of
    from app.evaluation.predictions import predict_photos, titled
    from app.evaluation.report import (
        Evaluation,
        as_text,
        draw_plots,
        read_logit_scales,
        summary_tables,
        write_report,
    )

    _make_folder(out)
    logit_scales = read_logit_scales(log) if log else None
    first = read_checkpoint(checkpoint)
    checkpoints = [first, *([read_checkpoint(compare_with)] if compare_with else [])]
    meanings = load_names(names, first.labels) if names else None
    data = load_labelled(manifest, photos, first.labels, names=meanings, part=part)
    scored = scored_classes(data, first.labels, meanings, classes)
    subsets = subsets_of(scored, top=top, chosen=chosen or ())
    texts = [texts_of(scored, each.labels, meanings, classes) for each in checkpoints]

    rows = data.indices(part)
    files = [data.files[i] for i in rows]
    targets = data.targets[rows][:, [each.column for each in scored]].numpy()
    if not (targets == 1).any():
        raise DataError(
            f"{manifest}: no photo of the part {part} is known to have one of the classes, so "
            "there is nothing to measure"
        )
    if example is not None and example not in files:
        raise OptionError("example", f"{example!r} is no file of the part {part} in {manifest}")
    shown = files.index(example) if example else int((targets == 1).sum(axis=1).argmax())

    console = Console(stderr=True)
    with Progress(console=console) as progress:
        where = choose_placement(device, "fp32", transformer=False).device
        predictions = {
            title: predict_photos(
                each,
                [photos / file for file in files],
                texts[i],
                device=where,
                workers=workers,
                progress=progress,
            )
            for i, (title, each) in enumerate(titled(checkpoints).items())
        }
        draws = draw_images(len(files), resamples=resamples, seed=seed)
        measures = {
            title: measure(targets, each.probabilities, scored, subsets, k=k, draws=draws)
            for title, each in progress.track(predictions.items(), description="metrics")
        }
        plots = draw_plots(
            measures,
            predictions,
            targets,
            scored,
            paths=[photos / file for file in files],
            example=shown,
            logit_scales=logit_scales,
        )
        evaluation = Evaluation(
            measures=measures,
            manifest=str(manifest),
            part=part,
            photos=len(files),
            k=k,
            resamples=resamples,
            plots=list(progress.track(plots, description="plots")),
        )
    write_report(out, evaluation)
    for title, table in summary_tables(measures, k, intervals=False):
        typer.echo(f"{title}, {part}: {len(files)} photos\n{as_text(table)}\n")
    console.print(f"wrote {out / 'report.html'}", markup=False, highlight=False, soft_wrap=True)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError("out", f"{folder} cannot be made: {error.strerror}") from error
