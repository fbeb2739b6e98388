"""Finds the best learning rate of MuMIC and of ASL, for a fair comparison."""

from collections.abc import Iterator

from runs import MUMIC, Study, best_epoch, mean_and_spread

from app.evaluation.report import table_to_markdown

RATES = (1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)


def lines(study: Study) -> Iterator[str]:
    """Yield a table of macro mAP on the validation split, by the best epoch of each run."""
    rows = []
    for rate in RATES:
        mumic = [
            best_epoch(study.train(MUMIC, seed=seed, learning_rate=rate)) for seed in study.seeds
        ]
        asl = [best_epoch(study.train_asl(seed=seed, learning_rate=rate)) for seed in study.seeds]
        columns = [mean_and_spread([run["macro_map"] for run in runs]) for runs in (mumic, asl)]
        rows.append([f"{rate:g}", *columns])
    head = ["learning rate", f"MuMIC, {study.epochs} epochs", f"ASL, {study.asl_epochs} epochs"]
    yield table_to_markdown([head, *rows]) + "\n"
