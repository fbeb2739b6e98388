"""A comparison as Markdown, in percent as in the paper, and as JSON."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from app.baselines.comparison.comparison import Comparison, K
from app.evaluation.metrics import Estimate, SubsetMeasure
from app.evaluation.report import TextTable, table_to_markdown

METRICS = ("GAP", f"GAP@{K}", "macro mAP", "weighted mAP")


def comparison_tables(comparison: Comparison) -> Iterator[tuple[str, TextTable]]:
    """A table for each subset of classes (table 1), then one of all classes (table 2).

    The metrics of a subset have 95 % intervals; the intervals of the classes are in the JSON. The
    classes are sorted by their positives, most first.

    Yields:
        Title and table.
    """
    measures = comparison.measures
    for subset in zip(*(measured.subsets for measured in measures.values()), strict=True):
        rows = [
            [name, *(_with_interval(estimate) for estimate in metrics_of(each).values())]
            for name, each in zip(measures, subset, strict=True)
        ]
        title = f"{subset[0].title}, {comparison.photos} photos, % [95 % interval]"
        yield title, [["method", *METRICS], *rows]
    classes = list(zip(*(measured.classes for measured in measures.values()), strict=True))
    classes.sort(key=lambda row: -row[0].positives)
    yield (
        "average precision of each class, %",
        [
            ["class", "positives", "of known", *measures],
            *(
                [
                    *(row[0].key, str(row[0].positives), str(row[0].known)),
                    *(percent(each.average_precision.value) for each in row),
                ]
                for row in classes
            ),
        ],
    )


def metrics_of(subset: SubsetMeasure) -> Mapping[str, Estimate]:
    """The paper's four metrics, by `METRICS`."""
    values = (subset.gap, subset.gap_at_k, subset.macro_map, subset.weighted_map)
    return dict(zip(METRICS, values, strict=True))


def markdown_lines(comparison: Comparison) -> Iterator[str]:
    """The tables as Markdown, each under its title."""
    for title, table in comparison_tables(comparison):
        yield f"{title[0].upper()}{title[1:]}:\n\n{table_to_markdown(table)}\n\n"


def as_json(comparison: Comparison) -> str:
    """All metrics with their intervals as JSON, in [0, 1]; undefined values are null."""
    methods = {
        name: {
            "subsets": {
                subset.title: {
                    metric: _as_data(estimate) for metric, estimate in metrics_of(subset).items()
                }
                for subset in measured.subsets
            },
            "classes": {
                each.key: {
                    "positives": each.positives,
                    "known": each.known,
                    "average_precision": _as_data(each.average_precision),
                }
                for each in measured.classes
            },
        }
        for name, measured in comparison.measures.items()
    }
    return json.dumps({"photos": comparison.photos, "methods": methods}, indent=2)


def percent(value: float) -> str:
    """A share in percent with one decimal; a dash if it is undefined."""
    return "-" if math.isnan(value) else f"{100 * value:.1f}"


def _with_interval(estimate: Estimate) -> str:
    low, high = estimate.interval
    return f"{percent(estimate.value)} [{percent(low)}, {percent(high)}]"


def _as_data(estimate: Estimate) -> Any:
    numbers = dict(zip(("value", "low", "high"), (estimate.value, *estimate.interval), strict=True))
    return {name: None if math.isnan(number) else number for name, number in numbers.items()}
