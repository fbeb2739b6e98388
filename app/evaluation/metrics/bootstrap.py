"""How far a metric would move had other images been drawn: percentile bootstrap over images.

A draw says how often it holds each image. All metrics of all checkpoints are measured on the same
draws, so that the interval of a difference is that of paired measurements. A draw costs no
sorting: pairs are ranked once, and each draw weights them.
"""

import math

import numpy as np
from numpy.typing import NDArray

from app.evaluation.metrics.calibration import BINS, bin_sums
from app.evaluation.metrics.ranking import best_known

LEVEL = 0.95
WEIGHTS_AT_ONCE = 4_000_000  # weights of pairs that are held in memory

Draws = NDArray[np.int32]
Values = NDArray[np.float64]


def draw_images(images: int, *, resamples: int = 1000, seed: int = 0) -> Draws:
    """Draw as many images as there are, with replacement, again and again.

    Args:
        images: N, at least one.
        resamples: R, how many draws.
        seed: of the draws.

    Returns:
        (R, N) how often each draw holds each image; rows sum to N.
    """
    draw = np.random.default_rng(seed)
    shares = np.full(images, 1 / images)
    return draw.multinomial(images, shares, size=resamples).astype(np.int32)


def interval(values: Values, level: float = LEVEL) -> tuple[float, float]:
    """Percentile interval of a metric's values over draws; undefined values are left out.

    Args:
        values: (R,) one a draw.
        level: share of the draws that the interval holds.

    Returns:
        Lower and upper end; NaN where no draw had a value.
    """
    defined = values[~np.isnan(values)]
    if not len(defined):
        return math.nan, math.nan
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def average_precision_of_draws(
    targets: NDArray[np.floating], scores: NDArray[np.floating], draws: Draws
) -> Values:
    """Average precision per class, as `average_precision` has it, on each draw.

    Args:
        targets: (N, C) presence, 1 or 0, or negative where unknown.
        scores: (N, C) finite scores.
        draws: (R, N).

    Returns:
        (R, C) in [0, 1]; NaN where a draw has no known positive of a class.
    """
    values = np.empty((len(draws), targets.shape[1]))
    for c in range(targets.shape[1]):
        known = np.zeros(targets.shape, dtype=np.bool_)
        known[:, c] = targets[:, c] >= 0
        values[:, c] = _pooled(targets, scores, known, draws)
    return values


def macro_map_of_draws(average_precisions: Values) -> Values:
    """Macro mAP, as `macro_map` has it, on each draw.

    Args:
        average_precisions: (R, C), as `average_precision_of_draws` gives them.

    Returns:
        (R,) in [0, 1]; NaN where a draw has no known positive.
    """
    defined = ~np.isnan(average_precisions)
    return _ratio(np.nansum(average_precisions, axis=1), defined.sum(axis=1))


def weighted_map_of_draws(
    targets: NDArray[np.floating], average_precisions: Values, draws: Draws
) -> Values:
    """Weighted mAP, as `weighted_map` has it, on each draw.

    Args:
        targets: (N, C) presence, 1 or 0, or negative where unknown.
        average_precisions: (R, C), as `average_precision_of_draws` gives them.
        draws: (R, N).

    Returns:
        (R,) in [0, 1]; NaN where a draw has no known positive.
    """
    positives = draws @ (targets == 1).astype(np.float64)
    return _ratio(np.nansum(average_precisions * positives, axis=1), positives.sum(axis=1))


def gap_of_draws(
    targets: NDArray[np.floating], scores: NDArray[np.floating], draws: Draws
) -> Values:
    """GAP, as `gap` has it, on each draw.

    Args:
        targets: (N, C) presence, 1 or 0, or negative where unknown.
        scores: (N, C) finite scores.
        draws: (R, N).

    Returns:
        (R,) in [0, 1]; NaN where a draw has no known positive.
    """
    return _pooled(targets, scores, targets >= 0, draws)


def gap_at_k_of_draws(
    targets: NDArray[np.floating], scores: NDArray[np.floating], draws: Draws, k: int
) -> Values:
    """GAP@K, as `gap_at_k` has it, on each draw.

    Args:
        targets: (N, C) presence, 1 or 0, or negative where unknown.
        scores: (N, C) finite scores.
        draws: (R, N).
        k: K, at least 1.

    Returns:
        (R,) in [0, 1]; NaN where a draw has no known positive.
    """
    kept = best_known(targets, scores, k)
    present = targets == 1
    found = draws @ (present & kept).sum(axis=1)
    share = _ratio(found, draws @ present.sum(axis=1))
    return np.where(found > 0, _pooled(targets, scores, kept, draws), 0.0) * share


def calibration_error_of_draws(
    targets: NDArray[np.floating],
    probabilities: NDArray[np.floating],
    draws: Draws,
    bins: int = BINS,
) -> Values:
    """Expected calibration error, as `Reliability` has it, on each draw.

    Args:
        targets: (N, C) presence, 1 or 0, or negative where unknown.
        probabilities: (N, C) in [0, 1].
        draws: (R, N).
        bins: B, at least 1.

    Returns:
        (R,) in [0, 1]; NaN where a draw has no known pair.
    """
    pairs, predicted, present = (draws @ sums for sums in bin_sums(targets, probabilities, bins))
    return _ratio(np.abs(predicted - present).sum(axis=1), pairs.sum(axis=1))


def _pooled(
    targets: NDArray[np.floating],
    scores: NDArray[np.floating],
    pairs: NDArray[np.bool_],
    draws: Draws,
) -> Values:
    """Average precision of some pairs in one ranking, on each draw: (R,)."""
    if not pairs.any():
        return np.full(len(draws), math.nan)
    image = np.nonzero(pairs)[0]
    order = np.argsort(-scores[pairs], kind="stable")
    ranked = scores[pairs][order]
    present, image = (targets[pairs] == 1)[order], image[order]
    # Equal scores pass together: precision and recall are taken where the next score is lower.
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    parts = math.ceil(len(draws) * len(ranked) / WEIGHTS_AT_ONCE)
    values = []
    for part in np.array_split(draws, min(parts, len(draws))):
        weights = part[:, image]
        passed = np.cumsum(weights, axis=1)[:, ends]
        hits = np.cumsum(weights * present, axis=1)[:, ends]
        precision = hits / np.maximum(passed, 1)
        area = (np.diff(hits, axis=1, prepend=0) * precision).sum(axis=1)
        values.append(_ratio(area, hits[:, -1]))
    return np.concatenate(values)


def _ratio(parts: NDArray[np.number], whole: NDArray[np.number]) -> Values:
    """Parts over whole; NaN where the whole is 0."""
    ratio: Values = np.full(whole.shape, math.nan)
    np.divide(parts, whole, out=ratio, where=whole > 0)
    return ratio
