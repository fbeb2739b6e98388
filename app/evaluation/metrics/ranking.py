"""Ranking metrics with unknown pairs masked."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score


def average_precision(
    targets: NDArray[np.floating], scores: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Average precision per class (equation 4) over the images for which it is known.

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
    """Mean of the average precisions that are defined (equation 5); NaN where none is."""
    defined = [value for value in values if not math.isnan(value)]
    return float(np.mean(defined)) if defined else math.nan


def weighted_map(
    values: NDArray[np.floating], positives: NDArray[np.integer] | NDArray[np.floating]
) -> float:
    """Mean of the average precisions, each weighted by its class's positives (equation 6).

    Args:
        values: (C,) average precisions; NaN where there is none.
        positives: (C,) known positives.

    Returns:
        A value in [0, 1]; NaN where no average precision is defined.
    """
    defined = ~np.isnan(values)
    if not defined.any():
        return math.nan
    return float(np.average(values[defined], weights=positives[defined]))


def gap(targets: NDArray[np.floating], scores: NDArray[np.floating]) -> float:
    """Global average precision: that of all known pairs in one ranking (equation 7).

    Args:
        targets: (N, C) presence, 1 or 0, or negative where unknown.
        scores: (N, C) finite scores that can be compared across classes, higher is surer.

    Returns:
        A value in [0, 1]; NaN without a known positive.
    """
    known = targets >= 0
    present = targets[known] == 1
    return float(average_precision_score(present, scores[known])) if present.any() else math.nan


def gap_at_k(targets: NDArray[np.floating], scores: NDArray[np.floating], k: int) -> float:
    """GAP@K: the ranking holds each image's K best known labels alone (section 4.1).

    Recall still counts every known positive, so that a positive below its image's first K is
    lost. It equals the average precision of the kept pairs times the share of the known positives
    that are kept; where no image has more than K known labels it is GAP.

    Args:
        targets: (N, C) presence, 1 or 0, or negative where unknown.
        scores: (N, C) finite scores that can be compared across classes, higher is surer.
        k: K, at least 1. Of equal scores in one image the class that comes first is kept.

    Returns:
        A value in [0, 1]; NaN without a known positive.
    """
    positives = int((targets == 1).sum())
    if not positives:
        return math.nan
    kept = best_known(targets, scores, k)
    present = targets[kept] == 1
    if not present.any():
        return 0.0
    return float(average_precision_score(present, scores[kept]) * present.sum() / positives)


def best_known(
    targets: NDArray[np.floating], scores: NDArray[np.floating], k: int
) -> NDArray[np.bool_]:
    """Which pairs are among the K best known ones of their image.

    Args:
        targets: (N, C) presence, 1 or 0, or negative where unknown.
        scores: (N, C) finite scores, higher is surer.
        k: K, at least 1. Of equal scores in one image the class that comes first is kept.

    Returns:
        (N, C), at most K to a row, none of them unknown.
    """
    known = targets >= 0
    ranked = np.argsort(np.where(known, -scores, np.inf), axis=1, kind="stable")
    best = np.zeros(targets.shape, dtype=np.bool_)
    np.put_along_axis(best, ranked[:, :k], True, axis=1)
    return best & known


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
