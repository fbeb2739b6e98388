"""Greedy selection of a gallery: label coverage, variety and quality.

The objective is a sum of three monotone submodular functions of the chosen photos: label coverage,
facility location on the embeddings (Lin and Bilmes 2011), and quality, which is modular. The greedy
algorithm reaches at least 1 - 1/e of the best possible value (Nemhauser, Wolsey and Fisher 1978).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Weights of the three functions, each of which is at most about 1 for a whole gallery.
COVERAGE_WEIGHT = 1.0
VARIETY_WEIGHT = 0.1
QUALITY_WEIGHT = 0.03  # a photo; it decides between photos that show much the same
# Labels of a category after which 63 % of its weight is covered, 86 % after twice as many.
LABELS_PER_CATEGORY = 1.0
DIGITS = 6  # of gains, in float32: equal photos tie, whatever the order of the additions was


@dataclass(frozen=True, slots=True)
class Gain:
    """What a photo adds to the objective, given the photos chosen before it.

    Attributes:
        coverage: by labels that the others show less clearly or not at all.
        variety: by photos of the listing that look like it and not like the others.
        quality: by its own quality.
    """

    coverage: float
    variety: float
    quality: float

    @property
    def total(self) -> float:
        """The sum, by which the photo was chosen."""
        return self.coverage + self.variety + self.quality


@dataclass(frozen=True, slots=True)
class Pick:
    """One chosen photo.

    Attributes:
        photo: its position.
        gain: when it was chosen.
    """

    photo: int
    gain: Gain


def pick_photos(
    similarities: NDArray[np.float32],
    confidences: NDArray[np.float32],
    categories: NDArray[np.float32],
    qualities: NDArray[np.float32],
    count: int,
) -> list[Pick]:
    """Pick photos, the one with the highest gain first; the earlier photo wins a tie.

    Args:
        similarities: (N, N) cosines.
        confidences: (N, C) of the labels that each photo shows, 0 elsewhere.
        categories: (C, K), the weight of a category in the rows of its labels, 0 elsewhere. The
            weights of the categories sum to 1, or are all 0.
        qualities: (N,) in [0, 1].
        count: number of photos to pick, if there are as many.

    Returns:
        At most `count` picks, in order.
    """
    member = (categories > 0).astype(np.float32)
    weights = categories.max(axis=0, initial=0)
    likeness = np.maximum(similarities, 0)
    covered = np.zeros(confidences.shape[1], np.float32)
    nearest = np.zeros(len(similarities), np.float32)
    free = np.ones(len(similarities), bool)
    quality = QUALITY_WEIGHT * qualities
    picks: list[Pick] = []
    while len(picks) < count and free.any():
        after = _saturated(np.maximum(confidences, covered) @ member) @ weights
        more = np.maximum(after - _saturated(covered @ member) @ weights, 0)  # rounding
        coverage = COVERAGE_WEIGHT * more
        variety = VARIETY_WEIGHT * np.maximum(likeness - nearest, 0).mean(axis=1)
        gains = np.round(coverage + variety + quality, DIGITS)
        photo = int(np.argmax(np.where(free, gains, -np.inf)))
        gain = Gain(float(coverage[photo]), float(variety[photo]), float(quality[photo]))
        picks.append(Pick(photo, gain))
        covered = np.maximum(covered, confidences[photo])
        nearest = np.maximum(nearest, likeness[photo])
        free[photo] = False
    return picks


def _saturated(labels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the covered share of each category, given the sum of its labels' confidences."""
    shares: NDArray[np.float32] = 1 - np.exp(-labels / LABELS_PER_CATEGORY)
    return shares
