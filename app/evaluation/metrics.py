"""Ranking metrics with unknown pairs masked."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score


def average_precision(
    targets: NDArray[np.floating], scores: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Average precision per class (section 4.1) over the images for which it is known.

    Args:
        targets: (N, C) presence, 1 or 0, or negative where unknown.
        scores: (N, C) finite scores of any scale, higher is surer.

    Returns:
        (C,) values in [0, 1]; NaN for a class without a known positive.
    """
    values = np.full(targets.shape[1], math.nan)
    for c in range(targets.shape[1]):
        known = targets[:, c] >= 0
        present = targets[known, c] == 1
        if present.any():
            values[c] = average_precision_score(present, scores[known, c])
    return values


def macro_map(values: Sequence[float] | NDArray[np.floating]) -> float:
    """Mean of the average precisions that are defined; NaN where none is."""
    defined = [value for value in values if not math.isnan(value)]
    return float(np.mean(defined)) if defined else math.nan


def lift_over_chance(
    targets: NDArray[np.floating], values: NDArray[np.floating]
) -> NDArray[np.float64]:
    """(AP - p) / (1 - p) per class, p being its share of positives where it is known.

    What a random order scores is about p, so that 0 is chance and 1 is perfect.

    Args:
        targets: (N, C) presence, 1 or 0, or negative where unknown.
        values: (C,) average precisions.

    Returns:
        (C,) values of at most 1; NaN where AP is undefined or every known image is positive.
    """
    positives = (targets == 1).sum(axis=0).astype(np.float64)
    known = (targets >= 0).sum(axis=0)
    share = np.divide(positives, known, out=np.full(len(known), math.nan), where=known > 0)
    rest = 1.0 - share
    lift = np.full(len(known), math.nan)
    np.divide(values - share, rest, out=lift, where=rest > 0)
    return lift


def bootstrap_interval(
    targets: NDArray[np.floating],
    scores: NDArray[np.floating],
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of a class's average precision over resampled images.

    Args:
        targets: (N,) presence, 1 or 0, or negative where unknown.
        scores: (N,) finite scores.
        resamples: how often the images are drawn anew; a draw without a positive is left out.
        level: share of the draws that the interval holds.
        seed: of the draws.

    Returns:
        Lower and upper end in [0, 1]; NaN where no draw had a positive.
    """
    known = targets >= 0
    present, kept = targets[known] == 1, scores[known]
    draw = np.random.default_rng(seed)
    values = []
    for _ in range(resamples):
        images = draw.integers(len(kept), size=len(kept))
        if present[images].any():
            values.append(average_precision_score(present[images], kept[images]))
    if not values:
        return math.nan, math.nan
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
