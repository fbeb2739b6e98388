"""Percentile bootstrap of metrics over images.

A bootstrap sample (draw) holds the count of each image. All metrics of all checkpoints use the same
draws, so differences between checkpoints are paired. Pairs are sorted once; each draw only changes
their weights.
"""

import math

import numpy as np
from numpy.typing import NDArray

from app.evaluation.metrics.calibration import BINS, bin_sums
from app.evaluation.metrics.ranking import best_known

CONFIDENCE_LEVEL = 0.95
MAX_WEIGHTS = 4_000_000  # weights of pairs in memory, per batch of draws

Draws = NDArray[np.int32]
Values = NDArray[np.float64]


def draw_bootstrap_samples(images: int, *, resamples: int = 1000, seed: int = 0) -> Draws:
    """Draw bootstrap samples of N images with replacement.

    Args:
        images: N, at least one.
        resamples: R, the number of draws.
        seed: the seed of the random generator.

    Returns:
        (R, N) count of each image in each draw; rows sum to N.
    """
    draw = np.random.default_rng(seed)
    shares = np.full(images, 1 / images)
    return draw.multinomial(images, shares, size=resamples).astype(np.int32)


def percentile_interval(values: Values, level: float = CONFIDENCE_LEVEL) -> tuple[float, float]:
    """Return the percentile interval of a metric over draws; undefined values are ignored.

    Args:
        values: (R,) the metric on each draw.
        level: share of the draws in the interval.

    Returns:
        Lower and upper end; NaN if the metric is undefined on all draws.
    """
    defined = values[~np.isnan(values)]
    if not len(defined):
        return math.nan, math.nan
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bootstrap_average_precision(
    targets: NDArray[np.floating], scores: NDArray[np.floating], draws: Draws
) -> Values:
    """Compute `average_precision` on each draw.

    Args:
        targets: (N, C) presence, 1 or 0, or negative where unknown.
        scores: (N, C) finite scores.
        draws: (R, N).

    Returns:
        (R, C) in [0, 1]; NaN if a draw has no known positive or no known negative of a class.
    """
    negatives = draws @ (targets == 0)
    values = np.empty((len(draws), targets.shape[1]))
    for c in range(targets.shape[1]):
        known = np.zeros(targets.shape, dtype=np.bool_)
        known[:, c] = targets[:, c] >= 0
        values[:, c] = _pooled(targets, scores, known, draws)
    return np.where(negatives > 0, values, math.nan)


def bootstrap_macro_map(average_precisions: Values) -> Values:
    """Compute `macro_map` on each draw.

    Args:
        average_precisions: (R, C), from `bootstrap_average_precision`.

    Returns:
        (R,) in [0, 1]; NaN where all average precisions of a draw are undefined.
    """
    defined = ~np.isnan(average_precisions)
    return _ratio(np.nansum(average_precisions, axis=1), defined.sum(axis=1))


def bootstrap_weighted_map(
    targets: NDArray[np.floating], average_precisions: Values, draws: Draws
) -> Values:
    """Compute `weighted_map` on each draw.

    Args:
        targets: (N, C) presence, 1 or 0, or negative where unknown.
        average_precisions: (R, C), from `bootstrap_average_precision`.
        draws: (R, N).

    Returns:
        (R,) in [0, 1]; NaN where all average precisions of a draw are undefined.
    """
    positives = draws @ (targets == 1).astype(np.float64) * ~np.isnan(average_precisions)
    return _ratio(np.nansum(average_precisions * positives, axis=1), positives.sum(axis=1))


def bootstrap_gap(
    targets: NDArray[np.floating], scores: NDArray[np.floating], draws: Draws
) -> Values:
    """Compute `global_average_precision` on each draw.

    Args:
        targets: (N, C) presence, 1 or 0, or negative where unknown.
        scores: (N, C) finite scores.
        draws: (R, N).

    Returns:
        (R,) in [0, 1]; NaN where a draw has no known positive or no known negative.
    """
    negatives = draws @ (targets == 0).sum(axis=1)
    return np.where(negatives > 0, _pooled(targets, scores, targets >= 0, draws), math.nan)


def bootstrap_gap_at_k(
    targets: NDArray[np.floating], scores: NDArray[np.floating], draws: Draws, k: int
) -> Values:
    """Compute `global_average_precision_at_k` on each draw.

    Args:
        targets: (N, C) presence, 1 or 0, or negative where unknown.
        scores: (N, C) finite scores.
        draws: (R, N).
        k: K, at least 1.

    Returns:
        (R,) in [0, 1]; NaN where a draw has no known positive or no known negative.
    """
    kept = best_known(targets, scores, k)
    present = targets == 1
    negatives = draws @ (targets == 0).sum(axis=1)
    found = draws @ (present & kept).sum(axis=1)
    share = _ratio(found, draws @ present.sum(axis=1))
    values = np.where(found > 0, _pooled(targets, scores, kept, draws), 0.0) * share
    return np.where(negatives > 0, values, math.nan)


def bootstrap_calibration_error(
    targets: NDArray[np.floating],
    probabilities: NDArray[np.floating],
    draws: Draws,
    bins: int = BINS,
) -> Values:
    """Compute `ReliabilityDiagram.calibration_error` on each draw.

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
    """Return the (R,) average precision of the selected pairs in one ranking, on each draw."""
    if not pairs.any():
        return np.full(len(draws), math.nan)
    image = np.nonzero(pairs)[0]
    order = np.argsort(-scores[pairs], kind="stable")
    ranked = scores[pairs][order]
    present, image = (targets[pairs] == 1)[order], image[order]
    # Ties share a threshold: precision and recall are defined where the next score is lower.
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    batches = math.ceil(len(draws) * len(ranked) / MAX_WEIGHTS)
    values = []
    for batch in np.array_split(draws, min(batches, len(draws))):
        weights = batch[:, image]
        passed = np.cumsum(weights, axis=1)[:, ends]
        hits = np.cumsum(weights * present, axis=1)[:, ends]
        precision = hits / np.maximum(passed, 1)
        area = (np.diff(hits, axis=1, prepend=0) * precision).sum(axis=1)
        values.append(_ratio(area, hits[:, -1]))
    return np.concatenate(values)


def _ratio(numerator: NDArray[np.number], denominator: NDArray[np.number]) -> Values:
    """Divide; NaN where the denominator is 0."""
    ratio: Values = np.full(denominator.shape, math.nan)
    np.divide(numerator, denominator, out=ratio, where=denominator > 0)
    return ratio
