"""Near-duplicate photos of a listing, by the cosine similarity of their embeddings."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Crops to 90 % and lighter copies reach it; photos of different rooms hardly ever do.
MIN_SIMILARITY = 0.95


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Near-duplicates of one photo.

    Attributes:
        best: position of the photo that stands for the group.
        others: positions of the other photos, ascending; at least one.
        similarities: of each other photo to the best one, at least `MIN_SIMILARITY`.
    """

    best: int
    others: tuple[int, ...]
    similarities: tuple[float, ...]


def group_near_duplicates(
    similarities: NDArray[np.float32], best_first: Sequence[int]
) -> list[DuplicateGroup]:
    """Group near-duplicates around the best photo of each group.

    Every photo of a group is similar to its best photo, so groups do not grow along chains of
    photos that are similar to the next one only.

    Args:
        similarities: (N, N) cosines.
        best_first: the N positions; an earlier photo stands for later ones.

    Returns:
        Groups of two photos or more, by the position of their best photo.
    """
    free = np.ones(len(similarities), bool)
    groups = []
    for best in best_first:
        if not free[best]:
            continue
        free[best] = False
        others = np.flatnonzero(free & (similarities[best] >= MIN_SIMILARITY))
        free[others] = False
        if others.size:
            found = similarities[best, others].tolist()
            groups.append(DuplicateGroup(best, tuple(others.tolist()), tuple(found)))
    return sorted(groups, key=lambda group: group.best)
