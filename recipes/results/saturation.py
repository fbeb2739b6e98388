"""Measures the number of epochs that MuMIC and ASL need (section 5.1)."""

from collections.abc import Iterator
from statistics import fmean

from runs import MUMIC, Study, epochs_of, mean_and_spread

from app.evaluation.report import table_to_markdown

BUDGETS = (1, 2, 3, 5, 8, 12, 18, 25)  # epochs; each run has a complete learning-rate schedule
NEAR = 0.005  # a run within this distance of the best macro mAP is saturated


def lines(study: Study) -> Iterator[str]:
    """Yield the table and the smallest saturated budget of each method."""
    values: dict[str, dict[int, list[float]]] = {"MuMIC": {}, "ASL": {}}
    for epochs in BUDGETS:
        values["MuMIC"][epochs] = [
            epochs_of(study.train(MUMIC, epochs=epochs, seed=seed))[-1]["macro_map"]
            for seed in study.seeds
        ]
        values["ASL"][epochs] = [
            epochs_of(study.train_asl(epochs=epochs, seed=seed))[-1]["macro_map"]
            for seed in study.seeds
        ]
    rows = [
        [str(epochs), *(mean_and_spread(each[epochs]) for each in values.values())]
        for epochs in BUDGETS
    ]
    yield table_to_markdown([["epochs", *values], *rows]) + "\n"
    for name, runs in values.items():
        best = max(map(fmean, runs.values()))
        enough = next(epochs for epochs, run in runs.items() if fmean(run) >= best - NEAR)
        yield f"\n{name}: within {100 * NEAR:g} points of its best from {enough} epochs on.\n"
