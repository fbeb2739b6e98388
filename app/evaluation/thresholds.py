"""Thresholds per label."""

import numpy as np
from numpy.typing import NDArray


def best_f1_threshold(
    targets: NDArray[np.floating], scores: NDArray[np.floating], slack: float = 0.0
) -> tuple[float, float]:
    """The highest threshold whose F1 is the best there is, or at most `slack` below it (section 7).

    Only images for which the label is known count. The threshold lies in the middle between the
    lowest score that it lets pass and the next one below, so that a score which moves a little
    stays on its side.

    Args:
        targets: (N,) presence, 1 or 0, or negative where unknown; at least one is 1.
        scores: (N,) in [0, 1]; what is at or above the threshold passes.
        slack: F1 to give up for a stricter threshold, which is safer on photos unlike these.

    Returns:
        The threshold in [0, 1], and its F1.
    """
    known = targets >= 0
    order = np.argsort(-scores[known], kind="stable")
    ranked, present = scores[known][order], targets[known][order] == 1
    hits = np.cumsum(present)
    f1 = 2 * hits / (np.arange(1, len(hits) + 1) + present.sum())
    f1[:-1][ranked[:-1] == ranked[1:]] = -1.0  # equal scores pass together
    last = int(np.argmax(f1 >= f1.max() - slack))
    lowest, below = ranked[last], ranked[last + 1] if last + 1 < len(ranked) else 0.0
    middle = (lowest + below) / 2  # which rounds to one of the two where they are neighbours
    return float(middle if middle > below else lowest), float(f1[last])
