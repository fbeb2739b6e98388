"""Classes left out of training, found by their text alone (section 5.5)."""

from collections.abc import Iterator, Sequence
from statistics import fmean

from runs import Study, mean_and_spread

from app.baselines.tables import percent, table
from app.core.scoring import Scoring
from app.evaluation.metrics import average_precision, lift_over_chance

WAYS: tuple[Scoring, ...] = ("sigmoid", "pair", "softmax")


def lines(study: Study, left_out: Sequence[str]) -> Iterator[str]:
    """Each class's average precision, then what each way to score makes of all of them."""
    contestants = [(model, way) for model in ("left out", "before") for way in WAYS]
    titles = [f"{model}, {way}" for model, way in contestants]
    ap: dict[str, dict[str, list[float]]] = {}
    lift: dict[str, list[float]] = {title: [] for title in titles}
    present: dict[str, list[float]] = {title: [] for title in titles}
    absent: dict[str, list[float]] = {title: [] for title in titles}
    chance: dict[str, float] = {}
    for name in left_out:
        ap[name] = {title: [] for title in titles}
        for seed in study.seeds:
            out = study.train(f"without-{name}", "--leave-out", name, seed=seed)
            directories = {"left out": out, "before": study.init}
            measured = study.score(
                {
                    title: f"{directories[model]}:{way}"
                    for title, (model, way) in zip(titles, contestants, strict=True)
                }
            )
            column = [measured.classes.index(name)]
            targets = measured.targets[:, column]
            chance[name] = float((targets == 1).sum() / (targets >= 0).sum())
            for title in titles:
                scores = measured.scores[title][:, column]
                value = average_precision(targets, scores)
                ap[name][title].append(float(value[0]))
                lift[title].append(float(lift_over_chance(targets, value)[0]))
                present[title].append(float(scores[targets == 1].mean()))
                absent[title].append(float(scores[targets == 0].mean()))
    yield "Average precision of a class that no training photo had a label of, %:\n\n"
    yield from table(
        ["class", "chance", *titles],
        [
            [name, percent(chance[name]), *(mean_and_spread(values) for values in by.values())]
            for name, by in ap.items()
        ],
    )
    yield "\nMean over these classes, %:\n\n"
    yield from table(
        ["way", "AP", "(AP - p) / (1 - p)", "score where present", "score where absent"],
        [
            [
                title,
                percent(fmean(fmean(by[title]) for by in ap.values())),
                *(percent(fmean(values[title])) for values in (lift, present, absent)),
            ]
            for title in titles
        ],
    )
