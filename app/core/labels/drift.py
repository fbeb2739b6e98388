"""How far a distribution of scores has moved from the one that a checkpoint was judged on."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BINS = 10
# Of a bin's share, so that an empty one costs much and not everything.
SMALLEST_SHARE = 1e-4


def histograms(probabilities: NDArray[np.float32]) -> NDArray[np.int64]:
    """Count each label's scores in tenths.

    Args:
        probabilities: (N, C) in [0, 1].

    Returns:
        (C, BINS); each row adds up to N. A score of 1 is in the last bin.
    """
    labels = probabilities.shape[1]
    bins = np.minimum((probabilities * BINS).astype(np.int64), BINS - 1)
    flat = bins + BINS * np.arange(labels)
    return np.bincount(flat.ravel(), minlength=labels * BINS).reshape(labels, BINS)


def reference_histograms(
    label_ids: Sequence[str], probabilities: NDArray[np.float32]
) -> dict[str, list[int]]:
    """What the scores of photos to come are held against, as a card has it.

    Args:
        label_ids: C ids.
        probabilities: (N, C) in [0, 1], of photos that the checkpoint was judged on.
    """
    return dict(zip(label_ids, histograms(probabilities).tolist(), strict=True))


def population_stability_index(
    counts: NDArray[np.floating | np.integer], reference: NDArray[np.floating | np.integer]
) -> NDArray[np.float64]:
    """The sum over bins of (p - q) ln(p / q), with p and q the shares of each bin.

    Below 0.1 two distributions are usually taken for the same, above 0.25 for different ones.

    Args:
        counts: (..., BINS), not negative.
        reference: (..., BINS), not negative.

    Returns:
        (...), 0 where the shares are the same; NaN where either has no counts.
    """
    with np.errstate(invalid="ignore"):
        p, q = (
            np.maximum(every / every.sum(axis=-1, keepdims=True), SMALLEST_SHARE)
            for every in (counts.astype(np.float64), reference.astype(np.float64))
        )
    index: NDArray[np.float64] = ((p - q) * np.log(p / q)).sum(axis=-1)
    return index
