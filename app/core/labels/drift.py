"""Drift of score distributions from those on the evaluation photos of a checkpoint.

Scores are counted by their logits: the probabilities of a label whose logits are all above 16 are
all 1, so their distribution would never change.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 10
MIN_SHARE = 1e-4  # for empty bins, whose terms would be infinite
_SHARES = np.arange(1, BINS)[:, None] / BINS
TENTHS = np.log(_SHARES / (1 - _SHARES)).astype(np.float32)  # (BINS - 1, 1), edges of probabilities


def histograms(logits: NDArray[np.float32], edges: NDArray[np.float32]) -> NDArray[np.int64]:
    """Count the scores of each label in ten bins.

    Args:
        logits: (N, C), finite.
        edges: (BINS - 1, C), the inner edges of each label's bins, ascending; or (BINS - 1, 1) for
            the same edges of all labels. A logit equal to an edge is in the bin above.

    Returns:
        (C, BINS) counts; each row sums to N.
    """
    labels = logits.shape[1]
    bins = np.zeros(logits.shape, dtype=np.int64)
    for edge in edges:
        bins += logits >= edge
    flat = bins + BINS * np.arange(labels)
    return np.bincount(flat.ravel(), minlength=labels * BINS).reshape(labels, BINS)


def reference_histograms(
    label_ids: Sequence[str], logits: NDArray[np.float32]
) -> dict[str, dict[str, list[float]]]:
    """Return the histogram of each label, to which later scores are compared; stored in the card.

    Args:
        label_ids: C ids.
        logits: (N, C), of the photos that the checkpoint was evaluated on; at least one photo.

    Returns:
        Label id to `edges`, the deciles of its logits, and `counts`, the photos in each bin.
    """
    edges = np.quantile(logits, _SHARES.ravel(), axis=0).astype(np.float32)
    counts = histograms(logits, edges)
    return {
        id: {"edges": edges[:, column].tolist(), "counts": counts[column].tolist()}
        for column, id in enumerate(label_ids)
    }


def read_reference_histograms(
    label_ids: Sequence[str], stored: Any
) -> tuple[NDArray[np.float32], NDArray[np.float64]] | None:
    """Read the histograms of a card.

    Cards of version 0.2 and older hold ten counts per label, by tenth of the probability.

    Args:
        label_ids: C ids.
        stored: as `reference_histograms` returns them, read from JSON, or older.

    Returns:
        (BINS - 1, C) edges and (C, BINS) counts; None if the content is invalid.
    """
    try:
        each = [stored[id] for id in label_ids]
        if all(isinstance(one, Mapping) for one in each):
            edges = np.array([one["edges"] for one in each], dtype=np.float32).T
            counts = np.array([one["counts"] for one in each], dtype=np.float64)
        else:
            edges = np.repeat(TENTHS, len(each), axis=1)
            counts = np.array(each, dtype=np.float64)
    except (KeyError, TypeError, ValueError, IndexError):
        return None
    valid = edges.shape == (BINS - 1, len(each)) and counts.shape == (len(each), BINS)
    return (edges, counts) if valid and (counts >= 0).all() else None


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
