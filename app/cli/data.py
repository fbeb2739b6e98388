"""`mumic data ...`: from an archive of photos to a manifest."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from app.annotation import DEFAULT_THRESHOLD, LOCAL_FILES, PROJECT_FILES
from app.cli.dataset_options import refuse_overwriting
from app.errors import DataError, OptionError

data_app = typer.Typer(help="From an archive of photos to a manifest.", no_args_is_help=True)
notes = Console(stderr=True, highlight=False, soft_wrap=True)

LabelsOption = Annotated[
    Path | None, typer.Option(help="a label set; default: the built-in travel set")
]
NamesOption = Annotated[
    Path | None, typer.Option(help="YAML: what the labels of the votes mean, if not label ids")
]
PhotosOption = Annotated[Path, typer.Option(help="folder that the files are in")]
SeedOption = Annotated[int, typer.Option(min=0)]


@data_app.command()
def candidates(
    *,
    embeddings: Annotated[Path, typer.Option(help="safetensors: the archive's embeddings")],
    properties: Annotated[Path, typer.Option(help="table: file and the column of --by")],
    by: Annotated[str, typer.Option(help="column to stratify by, e.g. property_type")],
    count: Annotated[int, typer.Option(min=0, help="photos to sample over the strata")],
    out: Annotated[Path, typer.Option(help="table to write, .csv or .parquet")],
    rare: Annotated[
        list[str] | None,
        typer.Option(help="a rare label, or LABEL=TEXT to search for another text (repeatable)"),
    ] = None,
    per_label: Annotated[int, typer.Option(min=1, help="photos for each rare label")] = 100,
    top: Annotated[
        int, typer.Option(min=1, help="most similar photos to sample those from")
    ] = 1000,
    checkpoint: Annotated[
        Path | None, typer.Option(help="for --rare: the checkpoint that made the embeddings")
    ] = None,
    seed: SeedOption = 0,
) -> None:
    """Pick photos to annotate: over the strata of a column, and most like rare labels."""
    import numpy as np

    from app.annotation import embed_queries, read_embeddings, read_strata, similar, stratified
    from app.dataset.manifest import joined, write_table

    refuse_overwriting({"out": out}, {"embeddings": embeddings, "properties": properties})
    files, rows = read_embeddings(embeddings)
    strata = read_strata(properties, by, files)
    picked_for: dict[str, list[str]] = {
        file: [] for file in stratified(strata, count, np.random.default_rng(seed))
    }
    for label, texts in embed_queries(rare or (), checkpoint, rows.shape[1]).items():
        # Each label its own numbers: one more of them changes nothing for the others.
        draw = np.random.default_rng([seed, *label.encode()])
        for file in similar(files, rows, texts, top=top, count=per_label, draw=draw):
            picked_for.setdefault(file, []).append(label)
    write_table(
        out,
        ("file", by, "picked_for"),
        ([file, strata[file], joined(labels)] for file, labels in sorted(picked_for.items())),
    )
    notes.print(f"wrote {out}: {len(picked_for)} of {len(files)} photos", markup=False)


@data_app.command()
def tasks(
    *,
    candidates: Annotated[Path, typer.Option(help="table with a column file")],
    photos: PhotosOption,
    out: Annotated[Path, typer.Option(help="folder: config.xml, tasks.json, questions.yaml")],
    labels: LabelsOption = None,
    questions: Annotated[
        Path | None, typer.Option(help="YAML: exclusive and hard labels, or edited questions")
    ] = None,
    image_url: Annotated[
        str, typer.Option(help="what goes before a file to make its address in Label Studio")
    ] = LOCAL_FILES,
) -> None:
    """Group the labels into questions and write a Label Studio project that asks them."""
    from app.annotation import (
        Grouping,
        dump_grouping,
        labelling_config,
        load_grouping,
        make_questions,
        oddities,
        write_project,
    )
    from app.annotation import tasks as project_tasks
    from app.core.labels import builtin_label_set, load_label_set
    from app.dataset.manifest import photo_of, read_table

    label_set = load_label_set(labels) if labels else builtin_label_set()
    edited = out / "questions.yaml"
    if not edited.exists() and any((out / name).exists() for name in PROJECT_FILES):
        raise OptionError("out", f"{out} holds another project: choose another folder")
    if questions is None and edited.exists():
        raise OptionError(
            "questions", f"{edited} is there: keep it with --questions {edited}, or delete it"
        )
    grouping = load_grouping(questions, label_set.ids) if questions else Grouping()
    made = not grouping.questions
    if made:
        found = make_questions(label_set, grouping.exclusive, grouping.hard)
        grouping = grouping.model_copy(update={"questions": found})
    files = dict.fromkeys(photo_of(record, photos) for record in read_table(candidates, ("file",)))
    by_id = {label.id: label for label in label_set.labels}
    config = labelling_config(grouping.questions, by_id, grouping.exclusive)
    write_project(out, config, project_tasks(list(files), image_url))
    if made:
        dump_grouping(grouping, edited)
    for oddity in oddities(grouping):
        notes.print(f"[yellow]note:[/] {oddity}")
    notes.print(
        f"wrote {out}: {len(files)} tasks of {len(grouping.questions)} questions", markup=False
    )


@data_app.command()
def consolidate(
    *,
    votes: Annotated[
        Path, typer.Option(help="table: file, label, votes, annotators; or Label Studio's .json")
    ],
    photos: PhotosOption,
    out: Annotated[Path, typer.Option(help="table to write: file, positive, negative")],
    labels: LabelsOption = None,
    names: NamesOption = None,
    questions: Annotated[
        Path | None, typer.Option(help="for Label Studio's export: the questions that were asked")
    ] = None,
    threshold: Annotated[
        float, typer.Option(min=0.01, max=1, help="share of yes from which a label is present")
    ] = DEFAULT_THRESHOLD,
    golden: Annotated[
        Path | None, typer.Option(help="table: file, positive, negative, known for sure")
    ] = None,
    min_golden: Annotated[
        int,
        typer.Option(min=1, help="golden positives and negatives below which --threshold stays"),
    ] = 10,
    report: Annotated[
        Path | None, typer.Option(help="table to write: every label at every threshold")
    ] = None,
) -> None:
    """Make targets of votes; with a golden set, at the best threshold of each label."""
    from app.annotation import (
        ALL,
        as_lines,
        grade,
        load_grouping,
        mark_parents,
        pick_threshold,
        read_export,
        read_votes,
        threshold_steps,
        to_targets,
        write_report,
    )
    from app.core.labels import builtin_label_set, load_label_set
    from app.dataset.manifest import load_names, names_of, read_annotations, write_annotations

    if report is not None and golden is None:
        raise OptionError("report", "says how annotators did on a golden set: give --golden")
    refuse_overwriting(
        {"out": out, "report": report},
        {"votes": votes, "golden": golden, "labels": labels, "names": names}
        | {"questions": questions},
    )
    label_set = load_label_set(labels) if labels else builtin_label_set()
    known = load_names(names, label_set) if names else names_of(label_set)
    if votes.suffix.lower() == ".json":
        if questions is None:
            raise OptionError("questions", "Label Studio's export needs the file of its questions")
        asked = load_grouping(questions, known).questions
        tallies = read_export(votes, photos, asked, known)
    else:
        tallies = read_votes(votes, photos, known)
    thresholds: dict[str, float] = {}
    if golden is not None:
        steps = threshold_steps(tallies, threshold)
        grades = grade(tallies, read_annotations(golden, photos, known), steps)
        if not grades[ALL][0].positives + grades[ALL][0].negatives:
            raise DataError(f"{golden}: no vote is on a photo and label that it knows")
        thresholds = {
            label: pick_threshold(graded, min_golden, threshold)
            for label, graded in grades.items()
            if label != ALL
        }
        for line in as_lines(grades, thresholds):
            typer.echo(line)
        if report is not None:
            write_report(report, grades, thresholds)
    targets = mark_parents(to_targets(tallies, thresholds, threshold), known, label_set)
    write_annotations(out, targets)
    found = {label for each in targets for label in each.positive}
    if without := sorted({tally.label for tally in tallies} - found):
        notes.print(f"[yellow]note:[/] no positive photo: {', '.join(without)}")
    positive = sum(len(each.positive) for each in targets)
    negative = sum(len(each.negative) for each in targets)
    notes.print(
        f"wrote {out}: {len(targets)} photos, {positive} positive and {negative} negative labels",
        markup=False,
    )


@data_app.command()
def split(
    *,
    targets: Annotated[Path, typer.Option(help="table: file, positive, negative")],
    photos: PhotosOption,
    out: Annotated[Path, typer.Option(help="manifest to write, .csv or .parquet")],
    shares: Annotated[str, typer.Option(help="train/validation/test")] = "80/10/10",
    seed: SeedOption = 0,
) -> None:
    """Split targets into train, validation and test by each photo's rarest label."""
    from app.annotation import split as parts_of
    from app.core.checkpoint import file_hash
    from app.dataset.manifest import PARTS, in_part, read_annotations, write_manifest

    refuse_overwriting({"out": out}, {"targets": targets})
    wanted = dict(zip(PARTS, _shares(shares), strict=True))
    annotations = read_annotations(targets, photos)
    hashes = {a.file: file_hash(photos / a.file) for a in annotations}
    parts = parts_of(annotations, hashes, wanted, seed)
    rows = [in_part(annotation, parts[annotation.file]) for annotation in annotations]
    write_manifest(out, rows)
    counts = Counter((label, row.part) for row in rows for label in ("photos", *row.positive))
    for label in ("photos", *sorted({label for row in rows for label in row.positive})):
        numbers = "  ".join(f"{part} {counts[label, part]:6d}" for part in PARTS)
        typer.echo(f"{label:24}  {numbers}")
    notes.print(f"wrote {out}: {len(rows)} photos", markup=False)


def _shares(text: str) -> list[float]:
    try:
        shares = [float(share) for share in text.split("/")]
    except ValueError:
        shares = []
    if len(shares) != 3 or not all(0 <= share < float("inf") for share in shares) or not shares[0]:
        raise OptionError(
            "shares",
            f"should be three numbers such as 80/10/10, train's above 0, got {text!r}",
        )
    return shares
