"""Global average precision over each image's best labels."""

import math

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score


def gap_at_k(targets: NDArray[np.floating], scores: NDArray[np.floating], k: int) -> float:
    """Average precision of the pooled predictions, each image's K best known labels kept.

    The recall's denominator is all known positives, kept or not.

    Args:
        targets: (N, C) presence, 1 or 0, or negative where unknown.
        scores: (N, C) finite scores of one scale, higher is surer.
        k: how many labels of an image count, at least 1.

    Returns:
        A value in [0, 1]; NaN without a known positive.
    """
    known = targets >= 0
    order = np.argsort(np.where(known, -scores, math.inf), axis=1, kind="stable")[:, :k]
    kept = np.zeros_like(known)
    np.put_along_axis(kept, order, values=True, axis=1)
    kept &= known
    present, all_positives = targets[kept] == 1, int((targets == 1).sum())
    if not all_positives:
        return math.nan
    if not present.any():
        return 0.0
    share = float(present.sum()) / all_positives
    return float(average_precision_score(present, scores[kept])) * share
