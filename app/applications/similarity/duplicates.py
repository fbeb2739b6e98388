"""Near-duplicate photos, by the cosine similarity of their embeddings."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Crops to 90 % and lighter copies reach it; photos of different rooms hardly ever do.
DUPLICATE_SIMILARITY = 0.95
BLOCK_ROWS = 1024  # photos that are compared with all others at once
TILE_ROWS = 8192  # a block times a tile of float32 similarities takes 32 MiB


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Near-duplicates of one photo.

    Attributes:
        best: position of the photo that stands for the group.
        others: positions of the other photos, ascending; at least one.
        similarities: of each other photo to the best one, at least `DUPLICATE_SIMILARITY`.
    """

    best: int
    others: tuple[int, ...]
    similarities: tuple[float, ...]


def group_near_duplicates(
    embeddings: NDArray[np.float32], best_first: Sequence[int]
) -> list[DuplicateGroup]:
    """Group near-duplicates around the best photo of each group.

    Every photo of a group is similar to its best photo, so groups do not grow along chains of
    photos that are similar to the next one only. Memory does not grow with the number of pairs.

    Args:
        embeddings: (N, D) unit rows.
        best_first: the N positions; an earlier photo stands for later ones.

    Returns:
        Groups of two photos or more, by the position of their best photo.
    """
    positions = np.asarray(best_first, np.int64)
    rows = embeddings[positions]
    free = np.ones(len(rows), bool)
    members: dict[int, list[tuple[int, float]]] = {}
    for start in range(0, len(rows), BLOCK_ROWS):
        end = min(start + BLOCK_ROWS, len(rows))
        leaders = _leaders(rows, start, end, free, members)
        for tile in range(end, len(rows), TILE_ROWS):
            _join(rows, leaders, slice(tile, tile + TILE_ROWS), free, members)
    return sorted(
        (_group(positions, best, others) for best, others in members.items()),
        key=lambda group: group.best,
    )


def _leaders(
    rows: NDArray[np.float32],
    start: int,
    end: int,
    free: NDArray[np.bool_],
    members: dict[int, list[tuple[int, float]]],
) -> NDArray[np.int64]:
    """Group the free rows of a block among themselves; return those that no other stands for."""
    block: NDArray[np.int64] = start + np.flatnonzero(free[start:end])
    similarities = rows[block] @ rows[block].T
    leads = np.ones(len(block), bool)
    for place, best in enumerate(block):
        if leads[place]:
            later = place + 1 + np.flatnonzero(leads[place + 1 :])
            similar = later[similarities[place, later] >= DUPLICATE_SIMILARITY]
            if similar.size:
                leads[similar] = False
                found = zip(block[similar], similarities[place, similar], strict=True)
                members.setdefault(int(best), []).extend(found)
    free[block] = False
    return block[leads]


def _join(
    rows: NDArray[np.float32],
    leaders: NDArray[np.int64],
    tile: slice,
    free: NDArray[np.bool_],
    members: dict[int, list[tuple[int, float]]],
) -> None:
    """Add each free row of a tile to the group of the first leader that it is similar to."""
    if not leaders.size:
        return
    similarities = rows[leaders] @ rows[tile].T
    similar = similarities >= DUPLICATE_SIMILARITY
    for column in np.flatnonzero(similar.any(axis=0) & free[tile]):
        place = int(similar[:, column].argmax())
        row = tile.start + int(column)
        found = (row, float(similarities[place, column]))
        members.setdefault(int(leaders[place]), []).append(found)
        free[row] = False


def _group(
    positions: NDArray[np.int64], best: int, others: Sequence[tuple[int, float]]
) -> DuplicateGroup:
    by_position = sorted((int(positions[row]), float(similarity)) for row, similarity in others)
    return DuplicateGroup(
        int(positions[best]),
        tuple(position for position, _ in by_position),
        tuple(similarity for _, similarity in by_position),
    )
