"""Thresholds per label."""

import numpy as np
from numpy.typing import NDArray


def best_f1_threshold(
    targets: NDArray[np.floating], scores: NDArray[np.floating]
) -> tuple[float, float]:
    """The threshold with the highest F1 over the images for which a label is known (section 7).

    It lies in the middle between the lowest score that it lets pass and the next one below, so
    that a score which moves a little stays on its side.

    Args:
        targets: (N,) presence, 1 or 0, or negative where unknown; at least one is 1.
        scores: (N,) in [0, 1]; what is at or above the threshold passes.

    Returns:
        The threshold in [0, 1], and its F1.
    """
    known = targets >= 0
    order = np.argsort(-scores[known], kind="stable")
    ranked, present = scores[known][order], targets[known][order] == 1
    hits = np.cumsum(present)
    f1 = 2 * hits / (np.arange(1, len(hits) + 1) + present.sum())
    f1[:-1][ranked[:-1] == ranked[1:]] = -1.0  # equal scores pass together
    last = int(f1.argmax())
    below = ranked[last + 1] if last + 1 < len(ranked) else 0.0
    return float((ranked[last] + below) / 2), float(f1[last])
