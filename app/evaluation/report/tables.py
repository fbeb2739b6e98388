"""The numbers of an evaluation as rows of text."""

import math
from collections.abc import Iterator, Mapping, Sequence

from app.evaluation.metrics import ClassMeasure, Estimate, Measures, SubsetMeasure

Table = list[list[str]]


def summary_tables(
    measures: Mapping[str, Measures], k: int, *, intervals: bool = True
) -> Iterator[tuple[str, Table]]:
    """A title and a table of all subsets for each checkpoint, then one of their differences.

    Args:
        measures: one or two checkpoints by their titles.
        k: K of GAP@K.
        intervals: whether each number comes with its own; a difference always does.

    Yields:
        Title, and the table with its header first.
    """
    header = ["", "classes", "positives", "macro mAP", "weighted mAP", "GAP", f"GAP@{k}", "ECE"]
    for title, measured in measures.items():
        rows = [
            [
                subset.title,
                str(subset.classes),
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
        yield f"{first} minus {second}", [[header[0], *header[3:]], *rows]


def class_table(measures: Mapping[str, Measures]) -> Table:
    """A row for each class with a known positive, best first by the first checkpoint.

    Args:
        measures: one or two checkpoints by their titles.

    Returns:
        The table, its header first.
    """
    header = ["class", "category", "positives", "of known"]
    if len(measures) == 1:
        header += ["AP", "lift"]
    else:
        header += [*(f"AP, {title}" for title in measures), "difference"]
    rows = zip(*(measured.classes for measured in measures.values()), strict=True)
    defined = [row for row in rows if row[0].positives]
    defined.sort(key=lambda row: -row[0].average_precision.value)
    return [header, *map(_class_row, defined)]


def without_positives(measured: Measures) -> list[str]:
    """The classes without a known positive, for which nothing can be measured."""
    return [each.key for each in measured.classes if not each.positives]


def as_text(table: Table) -> str:
    """A table for a terminal: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = (
        "  ".join(
            [row[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        ).rstrip()
        for row in table
    )
    return "\n".join(lines)


def as_markdown(table: Table, text_columns: int = 1) -> str:
    """A table in Markdown; after the first columns, which hold text, all are to the right."""
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
    cells = [first.key, first.category, str(first.positives), str(first.known)]
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
