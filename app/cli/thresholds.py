"""`mumic thresholds`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from app.cli.dataset_options import Device, Manifest, Names, Photos, Workers
from app.dataset.manifest import Part
from app.errors import DataError, OptionError


def thresholds_command(
    *,
    checkpoint: Annotated[Path, typer.Option(help="checkpoint directory to fit")],
    manifest: Manifest,
    photos: Photos,
    out: Annotated[
        Path, typer.Option(help="checkpoint directory to write; the same one: it is replaced")
    ],
    names: Names = None,
    soft_targets: Annotated[
        Path | None,
        typer.Option(help="safetensors: a teacher's targets, for serve where no human spoke"),
    ] = None,
    part: Annotated[Part, typer.Option(help="the photos to fit on")] = "validation",
    precision: Annotated[
        float | None, typer.Option(min=0, max=1, help="wanted of serve, instead of the best F1")
    ] = None,
    slack: Annotated[
        float, typer.Option(min=0, max=1, help="F1 that serve gives up to be stricter")
    ] = 0.01,
    recall: Annotated[float, typer.Option(help="wanted of store, all labels together")] = 0.98,
    confidence: Annotated[
        float, typer.Option(help="with which store keeps it on photos not seen")
    ] = 0.95,
    min_positives: Annotated[
        int,
        typer.Option(
            min=1, help="a label with fewer known positives or negatives gets the fallback"
        ),
    ] = 10,
    workers: Workers = 0,
    device: Device = "auto",
) -> None:
    """Fit each label's serve and store thresholds on photos with labels."""
    for option, value in (("recall", recall), ("confidence", confidence)):
        if not 0 < value < 1:
            raise OptionError(option, f"must be between 0 and 1, got {value}")

    from app.core.checkpoint import CARD_FILE, read_checkpoint, write_relabelled
    from app.core.files import refuse_foreign
    from app.core.labels import reference
    from app.core.runtime import choose_placement
    from app.dataset.labelled import load_labelled
    from app.dataset.manifest import load_names
    from app.evaluation.predictions import predict_photos
    from app.evaluation.thresholds import (
        HEADER,
        ThresholdRules,
        evidence_of,
        fit_thresholds,
        rows,
        summarise,
        with_thresholds,
    )

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    source = read_checkpoint(checkpoint)
    refuse_foreign(out, CARD_FILE)
    label_set = source.labels
    data = load_labelled(
        manifest,
        photos,
        label_set,
        names=load_names(names, label_set) if names else None,
        soft_targets=soft_targets,
        part=part,
    )
    indices = data.indices(part)
    columns = data.columns_of(label_set.prompts)
    targets = data.targets[indices][:, columns].numpy()
    if not (targets == 1).any():
        raise DataError(
            f"{manifest}: no photo of the part {part} is known to have a label of {checkpoint}"
        )
    if len(indices) < 2:
        raise DataError(
            f"{manifest}: one photo is in the part {part}; thresholds are judged on photos that "
            "they were not fitted on, so it takes at least two"
        )
    teacher = data.soft_targets[indices][:, columns].float().numpy() if soft_targets else None
    rules = ThresholdRules(
        min_positives=min_positives,
        precision=precision,
        slack=slack,
        recall=recall,
        confidence=confidence,
    )
    with Progress(console=console) as progress:
        scores = predict_photos(
            source,
            [data.photos / data.files[i] for i in indices],
            [],
            device=choose_placement(device, "fp32", transformer=False).device,
            workers=workers,
            progress=progress,
        ).label_probabilities
    fitted = fit_thresholds(targets, scores, rules, teacher)
    counts, best, summary = summarise(targets, scores, fitted, rules, teacher)
    write_relabelled(
        source,
        with_thresholds(label_set, fitted),
        out,
        {
            "thresholds": {"part": part, **summary.as_metrics()},
            "score_histograms": reference(label_set.ids, scores),
        },
    )
    evidence = evidence_of(targets, fitted, min_positives)
    print(HEADER)
    for line in rows(label_set.ids, evidence, fitted, counts, best):
        print(line)
    print("\n" + summary.text(rules))
    console.print(f"wrote {out}; serve it with: mumic serve --checkpoint {out}", markup=False)
