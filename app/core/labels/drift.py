"""Drift of score distributions from those on the evaluation photos of a checkpoint."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BINS = 10
MIN_SHARE = 1e-4  # for empty bins, whose terms would be infinite


def histograms(probabilities: NDArray[np.float32]) -> NDArray[np.int64]:
    """Count the scores of each label in ten bins of equal width.

    Args:
        probabilities: (N, C) in [0, 1].

    Returns:
        (C, BINS) counts; each row sums to N. A score of 1 is in the last bin.
    """
    labels = probabilities.shape[1]
    bins = np.minimum((probabilities * BINS).astype(np.int64), BINS - 1)
    flat = bins + BINS * np.arange(labels)
    return np.bincount(flat.ravel(), minlength=labels * BINS).reshape(labels, BINS)


def reference_histograms(
    label_ids: Sequence[str], probabilities: NDArray[np.float32]
) -> dict[str, list[int]]:
    """Return the histogram of each label, to which later scores are compared; stored in the card.

    Args:
        label_ids: C ids.
        probabilities: (N, C) in [0, 1], of the photos that the checkpoint was evaluated on.
    """
    return dict(zip(label_ids, histograms(probabilities).tolist(), strict=True))


def population_stability_index(
    counts: NDArray[np.floating | np.integer], reference: NDArray[np.floating | np.integer]
) -> NDArray[np.float64]:
    """Return the sum over bins of (p - q) ln(p / q), where p and q are the shares of each bin.

    By convention, distributions are similar below 0.1 and different above 0.25.

    Args:
        counts: (..., BINS), not negative.
        reference: (..., BINS), not negative.

    Returns:
        (...), 0 for equal shares; NaN if either has no counts.
    """
    with np.errstate(invalid="ignore"):
        p, q = (
            np.maximum(values / values.sum(axis=-1, keepdims=True), MIN_SHARE)
            for values in (counts.astype(np.float64), reference.astype(np.float64))
        )
    index: NDArray[np.float64] = ((p - q) * np.log(p / q)).sum(axis=-1)
    return index
