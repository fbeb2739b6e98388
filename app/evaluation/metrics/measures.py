"""Every number of an evaluation, with its interval."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.evaluation.metrics.bootstrap import (
    Draws,
    average_precision_of_draws,
    calibration_error_of_draws,
    gap_at_k_of_draws,
    gap_of_draws,
    interval,
    macro_map_of_draws,
    weighted_map_of_draws,
)
from app.evaluation.metrics.calibration import Reliability, reliability
from app.evaluation.metrics.ranking import (
    average_precision,
    gap,
    gap_at_k,
    lift_over_chance,
    macro_map,
    weighted_map,
)
from app.evaluation.metrics.subsets import ScoredClass, Subset

Floats = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric on the images at hand, and on each draw of them.

    Attributes:
        value: on all images; NaN where it is undefined.
        draws: (R,) on each draw.
    """

    value: float
    draws: NDArray[np.float64]

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % percentile interval."""
        return interval(self.draws)

    def __sub__(self, other: "Estimate") -> "Estimate":
        """How much more it is than another on the same draws."""
        return Estimate(self.value - other.value, self.draws - other.draws)


@dataclass(frozen=True, slots=True)
class ClassMeasure:
    """One class.

    Attributes:
        key: its name or label id.
        category: its category.
        positives: photos of the part that are known to have it.
        known: photos of the part for which it is known.
        average_precision: equation 4.
        lift: (AP - p) / (1 - p), p being the share of positives; 0 is chance.
    """

    key: str
    category: str
    positives: int
    known: int
    average_precision: Estimate
    lift: float


@dataclass(frozen=True, slots=True)
class SubsetMeasure:
    """Some classes together.

    Attributes:
        title: what they are.
        classes: how many of them have a known positive in the part.
        positives: known positive pairs.
        known: known pairs.
        macro_map: equation 5.
        weighted_map: equation 6.
        gap: equation 7.
        gap_at_k: section 4.1.
        calibration_error: expected calibration error.
    """

    title: str
    classes: int
    positives: int
    known: int
    macro_map: Estimate
    weighted_map: Estimate
    gap: Estimate
    gap_at_k: Estimate
    calibration_error: Estimate


@dataclass(frozen=True, slots=True)
class Measures:
    """All numbers of one checkpoint on one part."""

    classes: tuple[ClassMeasure, ...]
    subsets: tuple[SubsetMeasure, ...]
    reliability: Reliability


def measure(
    targets: Floats,
    probabilities: Floats,
    classes: Sequence[ScoredClass],
    subsets: Sequence[Subset],
    *,
    k: int,
    draws: Draws,
) -> Measures:
    """Measure one checkpoint.

    Args:
        targets: (N, C) presence, 1 or 0, or negative where unknown.
        probabilities: (N, C) in [0, 1].
        classes: what the C columns are.
        subsets: which of them are measured together.
        k: K of GAP@K.
        draws: (R, N), how often each resample holds each image.

    Returns:
        The numbers; the reliability diagram is that of all known pairs.
    """
    values = average_precision(targets, probabilities)
    drawn = average_precision_of_draws(targets, probabilities, draws)
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
                probabilities[:, subset.members],
                _PerClass(values[list(subset.members)], drawn[:, subset.members]),
                k,
                draws,
            )
            for subset in subsets
        ),
        reliability=reliability(targets, probabilities),
    )


@dataclass(frozen=True, slots=True)
class _PerClass:
    """A metric of each class: (C,) on all images, (R, C) on each draw."""

    values: NDArray[np.float64]
    draws: NDArray[np.float64]


def _measure_subset(
    title: str, targets: Floats, probabilities: Floats, ap: _PerClass, k: int, draws: Draws
) -> SubsetMeasure:
    positives = (targets == 1).sum(axis=0)
    return SubsetMeasure(
        title=title,
        classes=int((positives > 0).sum()),
        positives=int(positives.sum()),
        known=int((targets >= 0).sum()),
        macro_map=Estimate(macro_map(ap.values), macro_map_of_draws(ap.draws)),
        weighted_map=Estimate(
            weighted_map(ap.values, positives), weighted_map_of_draws(targets, ap.draws, draws)
        ),
        gap=Estimate(gap(targets, probabilities), gap_of_draws(targets, probabilities, draws)),
        gap_at_k=Estimate(
            gap_at_k(targets, probabilities, k),
            gap_at_k_of_draws(targets, probabilities, draws, k),
        ),
        calibration_error=Estimate(
            reliability(targets, probabilities).calibration_error,
            calibration_error_of_draws(targets, probabilities, draws),
        ),
    )
