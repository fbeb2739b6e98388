"""Random and degenerate ranking problems, and naive implementations of the metrics."""

import math

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def naive_average_precision(targets: Floats, scores: Floats) -> float:
    """Compute the average precision of one class, with a loop over thresholds."""
    known = [(s, y) for s, y in zip(scores, targets, strict=True) if y >= 0]
    positives = sum(y for _, y in known)
    if positives in (0, len(known)):
        return math.nan
    area, recall_before = 0.0, 0.0
    for threshold in sorted({s for s, _ in known}, reverse=True):
        kept = [y for s, y in known if s >= threshold]
        recall = sum(kept) / positives
        area += (recall - recall_before) * sum(kept) / len(kept)
        recall_before = recall
    return area


def naive_gap_at_k(targets: Floats, scores: Floats, k: int) -> float:
    """Compute GAP@K, with a loop over thresholds."""
    kept: list[tuple[float, float]] = []
    for row, values in zip(targets.tolist(), scores.tolist(), strict=True):
        known = [(s, y) for s, y in zip(values, row, strict=True) if y >= 0]
        kept += sorted(known, key=lambda pair: -pair[0])[:k]  # stable: ties keep their order
    positives = int((targets == 1).sum())
    if not positives or not (targets == 0).any():
        return math.nan
    area, hits_before = 0.0, 0.0
    for threshold in sorted({s for s, _ in kept}, reverse=True):
        passed = [y for s, y in kept if s >= threshold]
        area += (sum(passed) - hits_before) / positives * sum(passed) / len(passed)
        hits_before = sum(passed)
    return area


@st.composite
def problems(draw: st.DrawFn) -> tuple[Floats, Floats]:
    """Draw targets and scores in [0, 1]: ties, no positives, all unknown, one image, one class."""
    images, classes = draw(st.integers(1, 12)), draw(st.integers(1, 4))
    size = images * classes
    known = st.sampled_from([0.0, 1.0])
    value = draw(st.sampled_from([st.just(-1.0), st.just(0.0), known, known | st.just(-1.0)]))
    targets = draw(st.lists(value, min_size=size, max_size=size))
    tied = st.sampled_from([0.0, 0.1, 0.2, 0.5, 0.9, 1.0])
    score = draw(st.sampled_from([st.just(0.5), tied, tied | st.floats(0, 1)]))
    scores = draw(st.lists(score, min_size=size, max_size=size))
    shape = (images, classes)
    return np.array(targets).reshape(shape), np.array(scores).reshape(shape)
