"""Ranking metrics; unknown pairs are masked."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from app.dataset.manifest import UNLISTED_ADVICE
from app.errors import DataError


def average_precision(
    targets: NDArray[np.floating], scores: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Compute average precision per class (equation 4) over the images with a known target.

    Args:
        targets: (N, C) presence, 1 or 0, or negative where unknown.
        scores: (N, C) finite scores on any scale, higher is more confident.

    Returns:
        (C,) values in [0, 1]; NaN for a class that is not `measurable`.
    """
    values = np.full(targets.shape[1], math.nan)
    for c in np.flatnonzero(measurable(targets)):
        known = targets[:, c] >= 0
        values[c] = average_precision_score(targets[known, c] == 1, scores[known, c])
    return values


def measurable(targets: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return (C,) whether a class has a known positive and a known negative.

    Any scores rank the images of another class perfectly, or have nothing to find.

    Args:
        targets: (N, C) presence, 1 or 0, or negative where unknown.
    """
    return np.asarray((targets == 1).any(axis=0) & (targets == 0).any(axis=0))


def check_measurable(targets: NDArray[np.floating], manifest: Path, split: str) -> None:
    """Check that a class is `measurable`.

    Args:
        targets: (N, C) presence, 1 or 0, or negative where unknown.
        manifest: the manifest's path, for the message.
        split: the split of the N images, for the message.

    Raises:
        DataError: no class has a known positive and a known negative.
    """
    if not (targets == 1).any():
        raise DataError(
            f"{manifest}: no photo of the split {split} is known to have one of the labels, so "
            "there is nothing to measure"
        )
    if not measurable(targets).any():
        advice = UNLISTED_ADVICE if not (targets == 0).any() else f"Add photos to the split {split}"
        raise DataError(
            f"{manifest}: no label has both a positive and a negative photo in the split {split}, "
            "so nothing can be measured: any scores rank photos that all have a label, or all "
            f"lack it, perfectly. {advice}"
        )


def macro_map(values: Sequence[float] | NDArray[np.floating]) -> float:
    """Return the mean of the defined average precisions (equation 5); NaN if all are undefined."""
    defined = [value for value in values if not math.isnan(value)]
    return float(np.mean(defined)) if defined else math.nan


def weighted_map(
    values: NDArray[np.floating], positives: NDArray[np.integer] | NDArray[np.floating]
) -> float:
    """Return the mean of average precisions, weighted by positives per class (equation 6).

    Args:
        values: (C,) average precisions; NaN where undefined.
        positives: (C,) known positives.

    Returns:
        A value in [0, 1]; NaN if all average precisions are undefined.
    """
    defined = ~np.isnan(values)
    if not defined.any():
        return math.nan
    return float(np.average(values[defined], weights=positives[defined]))


def global_average_precision(targets: NDArray[np.floating], scores: NDArray[np.floating]) -> float:
    """Compute GAP, the average precision of all known pairs in one ranking (equation 7).

    Args:
        targets: (N, C) presence, 1 or 0, or negative where unknown.
        scores: (N, C) finite scores, comparable across classes; higher is more confident.

    Returns:
        A value in [0, 1]; NaN without a known positive or without a known negative.
    """
    known = targets >= 0
    present = targets[known] == 1
    if present.all() or not present.any():
        return math.nan
    return float(average_precision_score(present, scores[known]))


def global_average_precision_at_k(
    targets: NDArray[np.floating], scores: NDArray[np.floating], k: int
) -> float:
    """Compute GAP@K: the ranking holds only the K best known labels per image (section 4.1).

    Recall counts every known positive, so a positive below its image's first K is a miss. GAP@K
    equals the average precision of the kept pairs times the share of known positives that are
    kept. It equals GAP if no image has more than K known labels.

    Args:
        targets: (N, C) presence, 1 or 0, or negative where unknown.
        scores: (N, C) finite scores, comparable across classes; higher is more confident.
        k: K, at least 1. Of equal scores in one image the class that comes first is kept.

    Returns:
        A value in [0, 1]; NaN without a known positive or without a known negative.
    """
    positives = int((targets == 1).sum())
    if not positives or not (targets == 0).any():
        return math.nan
    kept = best_known(targets, scores, k)
    present = targets[kept] == 1
    if not present.any():
        return 0.0
    return float(average_precision_score(present, scores[kept]) * present.sum() / positives)


def best_known(
    targets: NDArray[np.floating], scores: NDArray[np.floating], k: int
) -> NDArray[np.bool_]:
    """Return a mask of the K best known pairs of each image.

    Args:
        targets: (N, C) presence, 1 or 0, or negative where unknown.
        scores: (N, C) finite scores, higher is more confident.
        k: K, at least 1. Of equal scores in one image the class that comes first is kept.

    Returns:
        (N, C) mask with at most K known pairs per row.
    """
    known = targets >= 0
    ranked = np.argsort(np.where(known, -scores, np.inf), axis=1, kind="stable")
    best = np.zeros(targets.shape, dtype=np.bool_)
    np.put_along_axis(best, ranked[:, :k], True, axis=1)
    return best & known


def lift_over_chance(
    targets: NDArray[np.floating], values: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Compute (AP - p) / (1 - p) per class, where p is the share of positives among known pairs.

    The AP of a random ranking is about p, so 0 is chance and 1 is perfect.

    Args:
        targets: (N, C) presence, 1 or 0, or negative where unknown.
        values: (C,) average precisions.

    Returns:
        (C,) values of at most 1; NaN if AP is undefined or every known image is positive.
    """
    positives = (targets == 1).sum(axis=0).astype(np.float64)
    known = (targets >= 0).sum(axis=0)
    share = np.divide(positives, known, out=np.full(len(known), math.nan), where=known > 0)
    rest = 1.0 - share
    lift = np.full(len(known), math.nan)
    np.divide(values - share, rest, out=lift, where=rest > 0)
    return lift
