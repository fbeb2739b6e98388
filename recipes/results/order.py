"""Compares MuMIC with ASL and with the model before training (the paper's tables 1 and 2)."""

from collections.abc import Iterator

from runs import MUMIC, Study, mean_and_spread

from app.baselines.comparison import METRICS, compare, markdown_lines, metrics_of
from app.evaluation.report import table_to_markdown


def lines(study: Study, top: int) -> Iterator[str]:
    """Yield tables of means over seeds, then of every seed with intervals and of each class."""
    models = {"before, pair": f"{study.init}:pair", "before, softmax": f"{study.init}:softmax"}
    for seed in study.seeds:
        models[f"ASL, seed {seed}"] = str(study.train_asl(seed=seed))
        models[f"MuMIC, seed {seed}"] = str(study.train(MUMIC, seed=seed))
    comparison = compare(study.score(models), top=top)
    subsets = zip(*(measured.subsets for measured in comparison.measures.values()), strict=True)
    for subset in subsets:
        by_method: dict[str, list[dict[str, float]]] = {}
        for name, measured in zip(comparison.measures, subset, strict=True):
            values = {metric: each.value for metric, each in metrics_of(measured).items()}
            by_method.setdefault(name.partition(", seed")[0], []).append(values)
        rows = [
            [method, *(mean_and_spread([run[metric] for run in runs]) for metric in METRICS)]
            for method, runs in by_method.items()
        ]
        title = subset[0].title
        yield f"{title[0].upper()}{title[1:]}, mean of the seeds, %:\n\n"
        yield table_to_markdown([["method", *METRICS], *rows]) + "\n\n"
    yield from markdown_lines(comparison)
