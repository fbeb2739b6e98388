"""Sweeps the initial logit_scale (the paper's table 3), and freezes tau at 1."""

from collections.abc import Iterator
from statistics import fmean
from typing import Any

from runs import Study, best_epoch, mean_and_spread

from app.evaluation.report import table_to_markdown

VALUES = (0.703, 0.913, 2.005, 2.578, 2.659, 2.927, 3.352, 3.652, 4.189, 4.605, 5.244, 5.751)
PAPER_MACRO_MAP = (17.5, 22.8, 65.9, 72.2, 72.6, 73.7, 73.9, 74.1, 73.9, 73.1, 73.1, 72.6)
PAPER_GAP_AT_10 = (56.1, 62.1, 78.5, 83.9, 83.9, 84.7, 85.0, 85.4, 85.0, 84.4, 84.4, 84.1)
PAPER_FROZEN = (43.3, 38.2)  # macro mAP and GAP@10 with tau = 1
CAP = 7.0  # above the largest value, so that it limits no run


def lines(study: Study) -> Iterator[str]:
    """Yield the table, by the best epoch of each run on the validation split."""
    rows = []
    settings: list[tuple[str, dict[str, Any], tuple[float, float]]] = [
        *(
            (f"{value:g}", {"initial_logit_scale": value}, (macro, gap))
            for value, macro, gap in zip(VALUES, PAPER_MACRO_MAP, PAPER_GAP_AT_10, strict=True)
        ),
        ("0, frozen", {"initial_logit_scale": 0.0, "freeze_logit_scale": True}, PAPER_FROZEN),
    ]
    for title, changes, paper in settings:
        name = f"logit-scale-{title.replace(', ', '-')}"
        runs = [
            best_epoch(study.train(name, seed=seed, max_logit_scale=CAP, **changes))
            for seed in study.seeds
        ]
        rows.append(
            [
                title,
                f"{fmean(run['logit_scale'] for run in runs):.3f}",
                mean_and_spread([run["macro_map"] for run in runs]),
                mean_and_spread([run["gap_at_10"] for run in runs]),
                *map(str, paper),
            ]
        )
    head = ["initial logit_scale", "at the end", "macro mAP", "GAP@10"]
    yield table_to_markdown([[*head, "paper's macro mAP", "paper's GAP@10"], *rows]) + "\n"
