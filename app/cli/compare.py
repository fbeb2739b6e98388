"""`mumic compare`."""

import sys
from typing import Annotated

import typer
from rich.console import Console

from app.cli.dataset_options import Device, Manifest, Names, Photos, Workers
from app.dataset.manifest import Part


def compare_command(
    *,
    contestants: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME=DIR[:SCORING]...",
            help="checkpoints; SCORING is sigmoid (default), pair or softmax",
        ),
    ],
    manifest: Manifest,
    photos: Photos,
    names: Names = None,
    part: Annotated[Part, typer.Option(help="train, validation or test")] = "test",
    top: Annotated[
        int | None, typer.Option(min=1, help="also on the N classes with most positives")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON, with intervals per class")] = False,
    resamples: Annotated[int, typer.Option(min=1, help="bootstrap draws")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="of the draws")] = 0,
    workers: Workers = 0,
    device: Device = "auto",
) -> None:
    """Hold checkpoints side by side on photos with labels, as the paper's tables 1 and 2 do.

    A contestant is a MuMIC checkpoint (sigmoid: its own scores; pair: each label against a text
    that says nothing, as the paper scores CLIP; softmax: one of the labels) or an ASL classifier.
    """
    from rich.progress import Progress

    from app.baselines import as_json as to_json
    from app.baselines import (
        compare,
        judging_labels,
        markdown_lines,
        parse_compared_models,
        score_compared_models,
    )
    from app.dataset.labelled import load_labelled
    from app.dataset.manifest import load_names
    from app.evaluation.metrics import scored_classes

    found = parse_compared_models(contestants)
    label_set = judging_labels(found)
    known = load_names(names, label_set) if names else None
    data = load_labelled(manifest, photos, label_set, names=known, part=part)
    classes = scored_classes(data, label_set, known, "names")
    with Progress(console=Console(stderr=True)) as progress:
        scored = score_compared_models(
            found,
            data,
            part,
            classes,
            names=known,
            device=device,
            workers=workers,
            progress=progress,
        )
    comparison = compare(scored, top=top, resamples=resamples, seed=seed)
    if as_json:
        sys.stdout.write(to_json(comparison) + "\n")
    else:
        sys.stdout.writelines(markdown_lines(comparison))
