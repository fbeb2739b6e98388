"""`mumic prompts`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from app.cli.dataset_options import Device, Manifest, Names, Photos, Workers
from app.dataset.manifest import Part
from app.errors import DataError, OptionError


def prompts_command(
    *,
    checkpoint: Annotated[Path, typer.Option(help="checkpoint directory to choose for")],
    manifest: Manifest,
    photos: Photos,
    out: Annotated[
        Path, typer.Option(help="checkpoint directory to write; the same one: it is replaced")
    ],
    names: Names = None,
    part: Annotated[Part, typer.Option(help="the photos to choose by")] = "validation",
    plot: Annotated[
        Path | None, typer.Option(help="the AP gaps, .png or .svg; default: OUT.prompts.png")
    ] = None,
    min_positives: Annotated[
        int,
        typer.Option(min=1, help="a label with fewer known positives or negatives keeps its text"),
    ] = 10,
    level: Annotated[
        float, typer.Option(help="a gap whose interval of this level holds 0 is noise")
    ] = 0.95,
    workers: Workers = 0,
    device: Device = "auto",
) -> None:
    """Choose name or description as each label's text, by average precision."""
    if not 0 < level < 1:
        raise OptionError("level", f"must be between 0 and 1, got {level}")
    if not out.name:
        raise OptionError("out", f"must end in the folder's name, got {out}")
    plot = plot or out.with_name(f"{out.name}.prompts.png")
    if plot.suffix not in {".png", ".svg"}:
        raise OptionError("plot", f"must end in .png or .svg, got {plot}")

    from app.core.checkpoint import CARD_FILE, read_checkpoint, write_relabelled
    from app.core.files import refuse_foreign
    from app.core.runtime import choose_placement
    from app.dataset.labelled import load_labelled
    from app.dataset.manifest import load_names
    from app.evaluation.predictions import predict_photos
    from app.evaluation.prompts import both_texts, choose_prompts, plot_gaps, with_prompts

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    source = read_checkpoint(checkpoint)
    refuse_foreign(out, CARD_FILE)
    label_set = source.labels
    data = load_labelled(
        manifest,
        photos,
        label_set,
        names=load_names(names, label_set) if names else None,
        part=part,
    )
    indices = data.indices(part)
    targets = data.targets[indices][:, data.columns_of(label_set.prompts)].numpy()
    if not (targets == 1).any():
        raise DataError(
            f"{manifest}: no photo of the part {part} is known to have a label of {checkpoint}"
        )
    by_name, by_description = both_texts(label_set)
    with Progress(console=console) as progress:
        scores = predict_photos(
            source,
            [data.photos / data.files[i] for i in indices],
            [*by_name, *by_description],
            device=choose_placement(device, "fp32", transformer=False).device,
            workers=workers,
            progress=progress,
        ).probabilities
    count = len(label_set.labels)
    choices = choose_prompts(
        label_set,
        targets,
        scores[:, :count],
        scores[:, count:],
        min_positives=min_positives,
        level=level,
    )
    changed = [choice.id for choice in choices if choice.chosen != choice.present]
    metrics = {"prompts": {"part": part, "changed": changed}}
    write_relabelled(source, with_prompts(label_set, choices), out, metrics)
    plot_gaps(choices, plot)

    print(f"{'label':24} {'pos':>5} {'neg':>5} {'name':>6} {'descr.':>6} {'gap':>7} interval")
    for choice in choices:
        if choice.positives:
            print(
                f"{choice.id:24} {choice.positives:5} {choice.negatives:5} {choice.name_ap:6.3f} "
                f"{choice.description_ap:6.3f} {choice.gap:+7.3f} "
                f"{choice.low:+.3f} to {choice.high:+.3f}  {choice.chosen}, {choice.reason}"
            )
    without = sum(not choice.positives for choice in choices)
    print(f"\n{len(changed)} of {count} labels changed; {without} without a known positive kept")
    console.print(f"wrote {out} and {plot}", markup=False)
    if changed:
        console.print(
            "the thresholds of a changed label were fitted for its old text: mumic thresholds"
        )
