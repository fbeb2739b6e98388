"""Measures classes left out of training, which are recognised by their text only (section 5.5)."""

from collections.abc import Iterator, Sequence
from statistics import fmean

import numpy as np
from runs import Study, mean_and_spread

from app.baselines.comparison import percent
from app.core.model import Scoring
from app.evaluation.metrics import average_precision, sigmoid
from app.evaluation.metrics.ranking import lift_over_chance
from app.evaluation.report import table_to_markdown

SCORINGS: tuple[Scoring, ...] = ("sigmoid", "pair", "softmax")
MEASURES = ("AP", "(AP - p) / (1 - p)", "score where present", "score where absent")


def lines(study: Study, leave_out: Sequence[str]) -> Iterator[str]:
    """Yield a table of each class's average precision, then means by scoring method."""
    runs = [(name, seed) for name in leave_out for seed in study.seeds]
    models = {f"before, {scoring}": f"{study.init}:{scoring}" for scoring in SCORINGS}
    for name, seed in runs:
        out = study.train(f"without-{name}", leave_out=[name], seed=seed)
        models |= {f"{name}, {seed}, {scoring}": f"{out}:{scoring}" for scoring in SCORINGS}
    scored = study.score(models)
    keys = [each.key for each in scored.classes]

    def measure(model: str, name: str) -> tuple[float, ...]:
        """Return one value for each of `MEASURES`."""
        column = [keys.index(name)]
        targets, scores = scored.targets[:, column], scored.logits[model][:, column]
        ap = average_precision(targets, scores)
        lift = lift_over_chance(targets, ap)[0]
        return (
            float(ap[0]),
            float(lift),
            *(float(np.mean(sigmoid(scores)[targets == presence])) for presence in (1, 0)),
        )

    found = {
        f"left out, {scoring}": {
            name: [measure(f"{name}, {seed}, {scoring}", name) for seed in study.seeds]
            for name in leave_out
        }
        for scoring in SCORINGS
    } | {
        f"before, {scoring}": {name: [measure(f"before, {scoring}", name)] for name in leave_out}
        for scoring in SCORINGS
    }
    yield "Average precision of classes without training labels, %:\n\n"
    rows = [
        [name, *(mean_and_spread([ap for ap, *_ in by[name]]) for by in found.values())]
        for name in leave_out
    ]
    yield table_to_markdown([["class", *found], *rows]) + "\n"
    yield "\nMean over these classes, %:\n\n"
    rows = []
    for title, by in found.items():
        means = zip(*(values for each in by.values() for values in each), strict=True)
        rows.append([title, *(percent(fmean(values)) for values in means)])
    yield table_to_markdown([["scoring", *MEASURES], *rows]) + "\n"
