"""A comparison as Markdown and as JSON."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from app.baselines.compare import Comparison, Estimate


def as_markdown(comparison: Comparison) -> Iterator[str]:
    """Lines of the tables: the paper's table 1 for each subset of classes, then its table 2.

    Values are in percent; those of single classes come without their intervals, which the JSON
    has.
    """
    for subset, contestants in comparison.totals.items():
        yield f"{subset[0].upper()}{subset[1:]}, {comparison.photos} photos, % [95 % interval]:\n\n"
        metrics = list(next(iter(contestants.values())))
        rows = [
            [name, *(_with_interval(values[metric]) for metric in metrics)]
            for name, values in contestants.items()
        ]
        yield from table(["method", *metrics], rows)
        yield "\n"
    yield "Average precision of each class, %:\n\n"
    columns = zip(*comparison.average_precisions.values(), strict=True)
    yield from table(
        ["class", "positives", "known", *comparison.average_precisions],
        [
            [name, str(positives), str(known), *(percent(estimate.value) for estimate in values)]
            for name, positives, known, values in zip(
                comparison.classes, comparison.positives, comparison.known, columns, strict=True
            )
        ],
    )


def as_json(comparison: Comparison) -> str:
    """The same with every interval; what is undefined is null."""
    return json.dumps(_without_nan(asdict(comparison)), indent=2)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Lines of a Markdown table; all columns but the first stand to the right."""
    yield _line(head)
    yield _line(["---", *["---:"] * (len(head) - 1)])
    yield from map(_line, rows)


def percent(value: float) -> str:
    """A share as a number with one decimal, or a dash where it is undefined."""
    return "-" if math.isnan(value) else f"{100 * value:.1f}"


def _with_interval(estimate: Estimate) -> str:
    if math.isnan(estimate.value):
        return percent(estimate.value)
    return f"{percent(estimate.value)} [{percent(estimate.low)}, {percent(estimate.high)}]"


def _line(cells: Sequence[str]) -> str:
    escaped = [cell.replace("|", "\\|") for cell in cells]
    return f"| {' | '.join(escaped)} |\n"


def _without_nan(value: Any) -> Any:
    match value:
        case dict():
            return {key: _without_nan(each) for key, each in value.items()}
        case list():
            return [_without_nan(each) for each in value]
        case float() if math.isnan(value):
            return None
    return value
