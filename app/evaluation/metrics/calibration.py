"""Whether a probability means what it says."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 10


@dataclass(frozen=True, slots=True)
class Reliability:
    """A reliability diagram: what was predicted against what is so, in bins of equal width.

    Attributes:
        edges: (B + 1,) from 0 to 1; a bin holds its upper edge, the first one 0 as well.
        pairs: (B,) known pairs whose probability lies in the bin.
        probability: (B,) their mean probability; NaN for an empty bin.
        frequency: (B,) their share of positives; NaN for an empty bin.
    """

    edges: NDArray[np.float64]
    pairs: NDArray[np.int64]
    probability: NDArray[np.float64]
    frequency: NDArray[np.float64]

    @property
    def calibration_error(self) -> float:
        """Expected calibration error: the mean over all pairs of how far their bin is off.

        |probability - frequency| of each bin, weighted by its pairs; in [0, 1], NaN without pairs.
        """
        filled = self.pairs > 0
        if not filled.any():
            return math.nan
        off = np.abs(self.probability - self.frequency)[filled]
        return float(np.average(off, weights=self.pairs[filled]))


def reliability(
    targets: NDArray[np.floating], probabilities: NDArray[np.floating], bins: int = BINS
) -> Reliability:
    """Put all known pairs into bins by their probability.

    Args:
        targets: (N, C) presence, 1 or 0, or negative where unknown.
        probabilities: (N, C) in [0, 1].
        bins: B, at least 1.

    Returns:
        The diagram's bins.
    """
    pairs, predicted, present = (
        sums.sum(axis=0) for sums in bin_sums(targets, probabilities, bins)
    )
    empty = np.full(bins, math.nan)
    return Reliability(
        edges=np.linspace(0, 1, bins + 1),
        pairs=pairs.astype(np.int64),
        probability=np.divide(predicted, pairs, out=empty.copy(), where=pairs > 0),
        frequency=np.divide(present, pairs, out=empty, where=pairs > 0),
    )


def bin_sums(
    targets: NDArray[np.floating], probabilities: NDArray[np.floating], bins: int = BINS
) -> NDArray[np.float64]:
    """What each image adds to each bin of a reliability diagram.

    Args:
        targets: (N, C) presence, 1 or 0, or negative where unknown.
        probabilities: (N, C) in [0, 1].
        bins: B, at least 1.

    Returns:
        (3, N, B): known pairs, the sum of their probabilities, their positives.
    """
    image, column = np.nonzero(targets >= 0)
    predicted = probabilities[image, column].astype(np.float64)
    inner = np.linspace(0, 1, bins + 1)[1:-1]
    place = image * bins + np.searchsorted(inner, predicted)
    summands = (np.ones(len(image)), predicted, targets[image, column] == 1)
    size = len(targets) * bins
    sums = [np.bincount(place, weights=each, minlength=size) for each in summands]
    return np.array(sums, dtype=np.float64).reshape(3, len(targets), bins)
