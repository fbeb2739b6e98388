"""Compares L2-SP, which keeps the projection near its start, with lower learning rates."""

from collections.abc import Iterator, Sequence
from typing import Any

from left_out import macro_map_cells
from runs import Study

from app.evaluation.report import table_to_markdown

RATES = (0.03, 0.1, 0.3)  # multiples of the learning rate: a lower one also keeps weights near
WEIGHTS = (0.1, 1, 3, 10)


def lines(study: Study, leave_out: Sequence[str]) -> Iterator[str]:
    """Yield a table of trained and of left-out classes."""
    methods: dict[str, dict[str, Any]] = {"plain": {}}
    for factor in RATES:
        rate = factor * study.learning_rate
        methods[f"plain, learning rate {rate:g}"] = {"learning_rate": rate}
    for weight in WEIGHTS:
        methods[f"L2-SP, weight {weight:g}"] = {"l2_sp": float(weight)}
    rows = [
        [title, *macro_map_cells(study, title, leave_out, **settings)]
        for title, settings in methods.items()
    ]
    yield "Macro mAP after the last epoch, %:\n\n"
    yield table_to_markdown([["method", "trained classes", "left-out classes"], *rows]) + "\n"
