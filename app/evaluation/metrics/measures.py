"""Computes all metrics of an evaluation with their bootstrap values."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.evaluation.metrics.bootstrap import (
    Draws,
    bootstrap_average_precision,
    bootstrap_calibration_error,
    bootstrap_gap,
    bootstrap_gap_at_k,
    bootstrap_macro_map,
    bootstrap_weighted_map,
    percentile_interval,
)
from app.evaluation.metrics.calibration import (
    ReliabilityDiagram,
    reliability_diagram,
    sigmoid,
)
from app.evaluation.metrics.ranking import (
    average_precision,
    global_average_precision,
    global_average_precision_at_k,
    lift_over_chance,
    macro_map,
    measurable,
    weighted_map,
)
from app.evaluation.metrics.subsets import ScoredClass, Subset

Floats = NDArray[np.floating]
# Of fewer photos one is more than a tenth of the recall, and the interval is unreliable.
MIN_INFORMATIVE_PHOTOS = 10


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric on all images and on each bootstrap draw.

    Attributes:
        value: the metric on all images; NaN if undefined.
        draws: (R,) the metric on each draw.
    """

    value: float
    draws: NDArray[np.float64]

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % percentile interval; NaN if its ends are equal.

        Draws of photos that are ranked perfectly are perfect: they say nothing of other photos.
        """
        low, high = percentile_interval(self.draws)
        return (low, high) if low < high else (math.nan, math.nan)

    def __sub__(self, other: "Estimate") -> "Estimate":
        """Return the paired difference to an estimate on the same draws."""
        return Estimate(self.value - other.value, self.draws - other.draws)


@dataclass(frozen=True, slots=True)
class ClassMeasure:
    """The metrics of one class.

    Attributes:
        key: the name or label id.
        category: the category.
        positives: number of photos in the split with a positive target.
        known: number of photos in the split with a known target.
        average_precision: equation 4; NaN if the class has no positive or no negative.
        lift: (AP - p) / (1 - p), where p is the share of positives; 0 is chance.
    """

    key: str
    category: str
    positives: int
    known: int
    average_precision: Estimate
    lift: float

    @property
    def is_measured(self) -> bool:
        """Whether the class has an average precision."""
        return 0 < self.positives < self.known

    @property
    def has_few_photos(self) -> bool:
        """Whether the class has too few known positives or negatives for a reliable figure."""
        return min(self.positives, self.known - self.positives) < MIN_INFORMATIVE_PHOTOS


@dataclass(frozen=True, slots=True)
class SubsetMeasure:
    """The metrics of a subset of classes.

    Attributes:
        title: the name of the subset.
        classes: number of classes with a known positive and a known negative in the split.
        few_photos: number of these with fewer than `MIN_INFORMATIVE_PHOTOS` of either.
        positives: number of known positive pairs.
        known: number of known pairs.
        macro_map: equation 5.
        weighted_map: equation 6.
        gap: equation 7.
        gap_at_k: section 4.1.
        calibration_error: expected calibration error.
    """

    title: str
    classes: int
    few_photos: int
    positives: int
    known: int
    macro_map: Estimate
    weighted_map: Estimate
    gap: Estimate
    gap_at_k: Estimate
    calibration_error: Estimate


@dataclass(frozen=True, slots=True)
class Measures:
    """All metrics of one checkpoint on one split."""

    classes: tuple[ClassMeasure, ...]
    subsets: tuple[SubsetMeasure, ...]
    reliability: ReliabilityDiagram


def compute_measures(
    targets: Floats,
    logits: Floats,
    classes: Sequence[ScoredClass],
    subsets: Sequence[Subset],
    *,
    k: int,
    draws: Draws,
) -> Measures:
    """Compute the metrics of one checkpoint.

    Ranking metrics use the logits; the calibration uses their sigmoids in float64.

    Args:
        targets: (N, C) presence, 1 or 0, or negative where unknown.
        logits: (N, C), finite.
        classes: the classes of the C columns.
        subsets: subsets of the classes.
        k: K of GAP@K.
        draws: (R, N), the count of each image in each bootstrap draw.

    Returns:
        The metrics; the reliability diagram covers all known pairs.
    """
    values = average_precision(targets, logits)
    drawn = bootstrap_average_precision(targets, logits, draws)
    lift = lift_over_chance(targets, values)
    positives, known = (targets == 1).sum(axis=0), (targets >= 0).sum(axis=0)
    return Measures(
        classes=tuple(
            ClassMeasure(
                key=each.key,
                category=each.category,
                positives=int(positives[c]),
                known=int(known[c]),
                average_precision=Estimate(float(values[c]), drawn[:, c]),
                lift=float(lift[c]),
            )
            for c, each in enumerate(classes)
        ),
        subsets=tuple(
            _measure_subset(
                subset.title,
                targets[:, subset.members],
                logits[:, subset.members],
                _PerClass(values[list(subset.members)], drawn[:, subset.members]),
                k,
                draws,
            )
            for subset in subsets
        ),
        reliability=reliability_diagram(targets, sigmoid(logits.astype(np.float64))),
    )


@dataclass(frozen=True, slots=True)
class _PerClass:
    """A metric of each class: (C,) on all images, (R, C) on each draw."""

    values: NDArray[np.float64]
    draws: NDArray[np.float64]


def _measure_subset(
    title: str, targets: Floats, logits: Floats, ap: _PerClass, k: int, draws: Draws
) -> SubsetMeasure:
    positives = (targets == 1).sum(axis=0)
    rarer = np.minimum(positives, (targets == 0).sum(axis=0))
    measured = measurable(targets)
    probabilities = sigmoid(logits.astype(np.float64))
    return SubsetMeasure(
        title=title,
        classes=int(measured.sum()),
        few_photos=int((measured & (rarer < MIN_INFORMATIVE_PHOTOS)).sum()),
        positives=int(positives.sum()),
        known=int((targets >= 0).sum()),
        macro_map=Estimate(macro_map(ap.values), bootstrap_macro_map(ap.draws)),
        weighted_map=Estimate(
            weighted_map(ap.values, positives), bootstrap_weighted_map(targets, ap.draws, draws)
        ),
        gap=Estimate(
            global_average_precision(targets, logits),
            bootstrap_gap(targets, logits, draws),
        ),
        gap_at_k=Estimate(
            global_average_precision_at_k(targets, logits, k),
            bootstrap_gap_at_k(targets, logits, draws, k),
        ),
        calibration_error=Estimate(
            reliability_diagram(targets, probabilities).calibration_error,
            bootstrap_calibration_error(targets, probabilities, draws),
        ),
    )
