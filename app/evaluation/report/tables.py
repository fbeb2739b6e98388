"""Formats the metrics of an evaluation as tables."""

import math
from collections.abc import Iterator, Mapping, Sequence

from app.evaluation.metrics import (
    MIN_INFORMATIVE_PHOTOS,
    ClassMeasure,
    Estimate,
    Measures,
    SubsetMeasure,
)

TextTable = list[list[str]]
FEW_PHOTOS_MARK = " (!)"


def summary_tables(
    measures: Mapping[str, Measures], k: int, *, intervals: bool = True
) -> Iterator[tuple[str, TextTable]]:
    """Yield a table of all subsets per checkpoint, and one of the differences of two.

    Args:
        measures: title to metrics of one or two checkpoints.
        k: K of GAP@K.
        intervals: whether to show intervals; differences always have them.

    Yields:
        Title and table; the header is the first row.
    """
    header = ["", "classes", "few photos", "positives", "macro mAP", "weighted mAP", "GAP"]
    header += [f"GAP@{k}", "ECE"]
    for title, measured in measures.items():
        rows = [
            [
                subset.title,
                str(subset.classes),
                str(subset.few_photos),
                str(subset.positives),
                *(_estimate(each) if intervals else _number(each.value) for each in _of(subset)),
            ]
            for subset in measured.subsets
        ]
        yield title, [header, *rows]
    if len(measures) == 2:
        (first, one), (second, two) = measures.items()
        rows = [
            [a.title, *(_difference(x - y) for x, y in zip(_of(a), _of(b), strict=True))]
            for a, b in zip(one.subsets, two.subsets, strict=True)
        ]
        yield f"{first} minus {second}", [[header[0], *header[4:]], *rows]


def class_table(measures: Mapping[str, Measures]) -> TextTable:
    """Return a row per measured class, sorted by the first checkpoint's AP.

    Args:
        measures: title to metrics of one or two checkpoints.

    Returns:
        The table; the header is the first row. `FEW_PHOTOS_MARK` follows the number of positives
        of a class with few photos.
    """
    header = ["class", "category", "positives", "of known"]
    if len(measures) == 1:
        header += ["AP", "lift"]
    else:
        header += [*(f"AP, {title}" for title in measures), "difference"]
    rows = zip(*(measured.classes for measured in measures.values()), strict=True)
    defined = [row for row in rows if row[0].is_measured]
    defined.sort(key=lambda row: -row[0].average_precision.value)
    return [header, *map(_class_row, defined)]


def unmeasured_classes(measured: Measures) -> dict[str, list[str]]:
    """Return the classes that cannot be measured, by what they lack: "positive" or "negative".

    A class without any known pair lacks a positive.
    """
    lacking = {
        "positive": [each.key for each in measured.classes if not each.positives],
        "negative": [
            each.key for each in measured.classes if each.positives and not each.is_measured
        ],
    }
    return {what: keys for what, keys in lacking.items() if keys}


def few_photos_lines(measured: Measures, split: str, limit: int | None = None) -> list[str]:
    """Return a line about the measured classes with few photos; empty if there are none.

    Args:
        measured: the metrics of a checkpoint.
        split: the split of the photos.
        limit: maximum number of classes that are named; None: all.
    """
    classes = [each for each in measured.classes if each.is_measured]
    few = [each.key for each in classes if each.has_few_photos]
    if not few:
        return []
    return [
        f"fewer than {MIN_INFORMATIVE_PHOTOS} positives or negatives for {len(few)} of "
        f"{len(classes)} classes in the split {split}: their figures are hardly informative: "
        f"{named(few, limit)}"
    ]


def named(keys: Sequence[str], limit: int | None = None) -> str:
    """Return names with commas; beyond the limit their number only."""
    more = "" if limit is None or len(keys) <= limit else f" and {len(keys) - limit} more"
    return f"{', '.join(keys[:limit])}{more}"


def table_to_text(table: TextTable) -> str:
    """Format a table for a terminal: the first column left-aligned, the others right-aligned."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = (
        "  ".join(
            [row[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        ).rstrip()
        for row in table
    )
    return "\n".join(lines)


def table_to_markdown(table: TextTable, text_columns: int = 1) -> str:
    """Format a table in Markdown; all columns after `text_columns` are right-aligned."""
    header, *rows = ([cell.replace("|", "\\|") for cell in row] for row in table)
    marks = ["---" if i < text_columns else "---:" for i in range(len(header))]
    return "\n".join(f"| {' | '.join(row)} |" for row in [header, marks, *rows])


def _of(subset: SubsetMeasure) -> Sequence[Estimate]:
    return (
        subset.macro_map,
        subset.weighted_map,
        subset.gap,
        subset.gap_at_k,
        subset.calibration_error,
    )


def _class_row(row: Sequence[ClassMeasure]) -> list[str]:
    first = row[0]
    mark = FEW_PHOTOS_MARK if first.has_few_photos else ""
    cells = [first.key, first.category, f"{first.positives}{mark}", str(first.known)]
    if len(row) == 1:
        return [*cells, _estimate(first.average_precision), _number(first.lift)]
    one, two = (each.average_precision for each in row)
    return [*cells, _estimate(one), _estimate(two), _difference(one - two)]


def _estimate(estimate: Estimate) -> str:
    low, high = estimate.interval
    return f"{_number(estimate.value)} [{_number(low)}, {_number(high)}]"


def _difference(estimate: Estimate) -> str:
    low, high = estimate.interval
    return f"{_number(estimate.value, '+')} [{_number(low, '+')}, {_number(high, '+')}]"


def _number(value: float, sign: str = "") -> str:
    return "-" if math.isnan(value) else f"{value:{sign}.3f}"
