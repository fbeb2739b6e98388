"""MuMIC against ASL and against the model before any human label (the paper's tables 1 and 2)."""

from collections.abc import Iterator

from runs import Study, mean_and_spread

from app.baselines.compare import compare
from app.baselines.tables import as_markdown, table


def lines(study: Study, top: int) -> Iterator[str]:
    """Mean over seeds, then the first seed with intervals and each class."""
    contestants = {"before, pair": f"{study.init}:pair", "before, softmax": f"{study.init}:softmax"}
    for seed in study.seeds:
        contestants[f"ASL, seed {seed}"] = str(study.train_asl(seed=seed))
        contestants[f"MuMIC, seed {seed}"] = str(study.train("mumic", seed=seed))
    comparison = compare(study.score(contestants), top=top)
    for subset, totals in comparison.totals.items():
        metrics = list(next(iter(totals.values())))
        methods = dict.fromkeys(name.partition(", seed")[0] for name in totals)
        yield f"{subset[0].upper()}{subset[1:]}, mean of the seeds:\n\n"
        yield from table(
            ["method", *metrics],
            [
                [
                    method,
                    *(
                        mean_and_spread(
                            [
                                values[metric].value
                                for name, values in totals.items()
                                if name.partition(", seed")[0] == method
                            ]
                        )
                        for metric in metrics
                    ),
                ]
                for method in methods
            ],
        )
        yield "\n"
    yield from as_markdown(comparison)
