"""Fits the calibration of each label to labelled photos."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.core.labels import Calibration
from app.evaluation.label_calibration.log_odds import fit_log_odds

Floats = NDArray[np.floating]
# Precisions of the normal priors of a label's deviations: of the slope's logarithm, and of the
# intercept. Chosen by cross-validated log loss on the demonstration photos (docs/log.md).
SLOPE_SHRINKAGE = 3.0
OFFSET_SHRINKAGE = 0.3


@dataclass(frozen=True, slots=True)
class FittedCalibrations:
    """Calibrations of C labels.

    Attributes:
        calibrations: C calibrations of uncalibrated logits.
        is_own: (C,) whether a label has enough photos for a calibration of its own; the others
            have the pooled one, that of all labels.
    """

    calibrations: tuple[Calibration, ...]
    is_own: NDArray[np.bool_]

    def apply(self, logits: Floats) -> NDArray[np.float64]:
        """Return the (N, C) calibrated logits of (N, C) uncalibrated ones."""
        scales = np.array([each.scale for each in self.calibrations])
        offsets = np.array([each.offset for each in self.calibrations])
        return np.asarray(scales * logits + offsets, np.float64)


def fit_calibrations(
    targets: Floats, logits: Floats, *, min_positives: int = 10
) -> FittedCalibrations:
    """Fit Platt scaling to each label, shrunk towards that of all labels.

    Args:
        targets: (N, C) presence by humans, 1 or 0, or negative where unknown.
        logits: (N, C), finite, without calibration.
        min_positives: a label with fewer known positives, or known negatives, gets the pooled
            calibration. One without negatives at all, such as a parent of which only the positives
            are known, would otherwise be calibrated to be always present.

    Returns:
        The calibrations; none changes a probability if no label has enough photos.
    """
    positives, negatives = (targets == 1).sum(axis=0), (targets == 0).sum(axis=0)
    own = np.minimum(positives, negatives) >= min_positives
    if not own.any():
        return FittedCalibrations((Calibration(),) * targets.shape[1], own)
    curves = fit_log_odds(
        targets,
        logits,
        own,
        slope_shrinkage=SLOPE_SHRINKAGE,
        offset_shrinkage=OFFSET_SHRINKAGE,
    )
    offsets = curves.intercepts - curves.slopes * curves.centre
    calibrations = tuple(
        Calibration(scale=scale, offset=offset)
        for scale, offset in zip(curves.slopes.tolist(), offsets.tolist(), strict=True)
    )
    return FittedCalibrations(calibrations, own)
