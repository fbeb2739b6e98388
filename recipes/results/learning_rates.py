"""Which learning rate MuMIC and ASL want each, so that neither is held back by the other's."""

from collections.abc import Iterator
from dataclasses import replace

from runs import Study, best_epoch, mean_and_spread

from app.baselines.tables import table

RATES = (1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)


def lines(study: Study, asl_epochs: int) -> Iterator[str]:
    """Macro mAP on the part validation, by the best epoch of each run."""
    rows = []
    for rate in RATES:
        each = replace(study, learning_rate=rate, asl_learning_rate=rate)
        mumic = [best_epoch(each.train("mumic", seed=seed)) for seed in study.seeds]
        asl = [best_epoch(each.train_asl(epochs=asl_epochs, seed=seed)) for seed in study.seeds]
        columns = [mean_and_spread([run["macro_map"] for run in runs]) for runs in (mumic, asl)]
        rows.append([f"{rate:g}", *columns])
    yield from table(
        ["learning rate", f"MuMIC, {study.epochs} epochs", f"ASL, {asl_epochs} epochs"], rows
    )
