"""Calibration of probabilities: reliability diagram and expected calibration error."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

BINS = 10


def sigmoid(logits: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the probabilities of logits.

    Args:
        logits: of any shape. From about 16.6 on, float32 gives 1; float64 gives 1 from about 36.7.

    Returns:
        Values in [0, 1], of the shape and dtype of the logits.
    """
    probabilities: NDArray[np.floating] = torch.from_numpy(logits).sigmoid().numpy()
    return probabilities


def log_loss(targets: NDArray[np.floating], logits: NDArray[np.floating]) -> float:
    """Compute the mean log loss (cross-entropy) of all known pairs, in nats; 0 is best.

    Args:
        targets: (N, C) presence, 1 or 0, or negative where unknown.
        logits: (N, C), finite, the log odds of the probabilities.

    Returns:
        A value of at least 0; NaN without a known pair.
    """
    known = targets >= 0
    if not known.any():
        return math.nan
    wrong = np.where(targets[known] == 1, -logits[known], logits[known]).astype(np.float64)
    return float(np.logaddexp(0.0, wrong).mean())


@dataclass(frozen=True, slots=True)
class ReliabilityDiagram:
    """Predicted probability and observed frequency in bins of equal width.

    Attributes:
        edges: (B + 1,) from 0 to 1; a bin includes its upper edge, the first bin also 0.
        pairs: (B,) number of known pairs whose probability is in the bin.
        probability: (B,) their mean probability; NaN for an empty bin.
        frequency: (B,) their share of positives; NaN for an empty bin.
    """

    edges: NDArray[np.float64]
    pairs: NDArray[np.int64]
    probability: NDArray[np.float64]
    frequency: NDArray[np.float64]

    @property
    def calibration_error(self) -> float:
        """Expected calibration error: |probability - frequency| per bin, weighted by its pairs.

        In [0, 1]; NaN without pairs.
        """
        filled = self.pairs > 0
        if not filled.any():
            return math.nan
        errors = np.abs(self.probability - self.frequency)[filled]
        return float(np.average(errors, weights=self.pairs[filled]))


def reliability_diagram(
    targets: NDArray[np.floating], probabilities: NDArray[np.floating], bins: int = BINS
) -> ReliabilityDiagram:
    """Compute the reliability diagram of all known pairs.

    Args:
        targets: (N, C) presence, 1 or 0, or negative where unknown.
        probabilities: (N, C) in [0, 1].
        bins: B, at least 1.
    """
    pairs, predicted, present = (
        sums.sum(axis=0) for sums in bin_sums(targets, probabilities, bins)
    )
    empty = np.full(bins, math.nan)
    return ReliabilityDiagram(
        edges=np.linspace(0, 1, bins + 1),
        pairs=pairs.astype(np.int64),
        probability=np.divide(predicted, pairs, out=empty.copy(), where=pairs > 0),
        frequency=np.divide(present, pairs, out=empty, where=pairs > 0),
    )


def bin_sums(
    targets: NDArray[np.floating], probabilities: NDArray[np.floating], bins: int = BINS
) -> NDArray[np.float64]:
    """Compute the contribution of each image to each bin of a reliability diagram.

    Args:
        targets: (N, C) presence, 1 or 0, or negative where unknown.
        probabilities: (N, C) in [0, 1].
        bins: B, at least 1.

    Returns:
        (3, N, B): number of known pairs, sum of their probabilities, number of positives.
    """
    image, column = np.nonzero(targets >= 0)
    predicted = probabilities[image, column].astype(np.float64)
    inner = np.linspace(0, 1, bins + 1)[1:-1]
    place = image * bins + np.searchsorted(inner, predicted)
    summands = (np.ones(len(image)), predicted, targets[image, column] == 1)
    size = len(targets) * bins
    sums = [np.bincount(place, weights=each, minlength=size) for each in summands]
    return np.array(sums, dtype=np.float64).reshape(3, len(targets), bins)
