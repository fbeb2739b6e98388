"""Contestants side by side, as in the paper's tables 1 and 2."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.baselines.contestants import Scored
from app.evaluation.bootstrap import (
    average_precision_of_draws,
    draw_images,
    gap_at_k_of_draws,
    gap_of_draws,
    interval,
    macro_map_of_draws,
    weighted_map_of_draws,
)
from app.evaluation.metrics import average_precision, gap, gap_at_k, macro_map, weighted_map

K = 10  # labels of an image that GAP@K keeps


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric in [0, 1] with its 95 % percentile interval over resampled images."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """What every contestant reached on the same photos and classes.

    Attributes:
        photos: how many there are.
        classes: C names, those with most positives first.
        positives: (C,) known positives of each.
        known: (C,) photos for which it is known.
        totals: name of a subset of the classes to contestant to metric.
        average_precisions: contestant to one for each class; NaN without a positive.
    """

    photos: int
    classes: Sequence[str]
    positives: Sequence[int]
    known: Sequence[int]
    totals: Mapping[str, Mapping[str, Mapping[str, Estimate]]]
    average_precisions: Mapping[str, Sequence[Estimate]]


def compare(
    scored: Scored,
    *,
    top: int | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Measure every contestant on the same photos, classes and bootstrap draws.

    Args:
        scored: probabilities and targets of n photos and C classes.
        top: size of a second subset, the classes with most positives (the paper's 32 majority
            classes); None: all classes alone.
        resamples: bootstrap draws of the intervals.
        seed: of the draws.
    """
    classes, targets = scored.classes, scored.targets
    positives = (targets == 1).sum(axis=0)
    order = np.argsort(-positives, kind="stable")
    targets, positives = targets[:, order], positives[order]
    draws = draw_images(len(targets), resamples=resamples, seed=seed)
    subsets = {f"all {len(classes)} classes": len(classes)}
    if top is not None and top < len(classes):
        subsets[f"the {top} classes with most positives"] = top
    totals: dict[str, dict[str, dict[str, Estimate]]] = {name: {} for name in subsets}
    each: dict[str, list[Estimate]] = {}
    for name, columns in scored.scores.items():
        values = columns[:, order]
        ap, drawn = (
            average_precision(targets, values),
            average_precision_of_draws(targets, values, draws),
        )
        each[name] = [Estimate(float(ap[c]), *interval(drawn[:, c])) for c in range(len(classes))]
        for subset, size in subsets.items():
            y, s = targets[:, :size], values[:, :size]
            totals[subset][name] = {
                "GAP": Estimate(gap(y, s), *interval(gap_of_draws(y, s, draws))),
                f"GAP@{K}": Estimate(
                    gap_at_k(y, s, K), *interval(gap_at_k_of_draws(y, s, draws, K))
                ),
                "macro mAP": Estimate(
                    macro_map(ap[:size]), *interval(macro_map_of_draws(drawn[:, :size]))
                ),
                "weighted mAP": Estimate(
                    weighted_map(ap[:size], positives[:size]),
                    *interval(weighted_map_of_draws(y, drawn[:, :size], draws)),
                ),
            }
    return Comparison(
        photos=len(targets),
        classes=[classes[i] for i in order],
        positives=positives.tolist(),
        known=(targets >= 0).sum(axis=0).tolist(),
        totals=totals,
        average_precisions=each,
    )
