"""Exact nearest neighbours by cosine similarity."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK_VALUES = 4 * 2**20  # similarities that are computed at once; as float32 they take 16 MiB
UNUSABLE = -3.0  # below every cosine, also after rounding errors
DIGITS = 6  # equal photos tie, whatever the order of the additions was


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """The rows that are most similar to one query.

    Attributes:
        rows: (K,) int64, most similar first; the lower row first on a tie.
        similarities: (K,) float32 cosines, rounded to `DIGITS`.
    """

    rows: NDArray[np.int64]
    similarities: NDArray[np.float32]


def nearest_neighbours(
    embeddings: NDArray[np.float32],
    queries: NDArray[np.float32],
    count: int,
    *,
    usable: NDArray[np.bool_] | None = None,
    min_similarity: float = -1.0,
) -> list[Neighbours]:
    """Find the rows that are most similar to each query, by comparing it with every row.

    Args:
        embeddings: (N, D) unit rows.
        queries: (Q, D) unit rows.
        count: the most neighbours of a query, at least 1.
        usable: (N,) whether a row may be a neighbour; None for all.
        min_similarity: lowest cosine of a neighbour.

    Returns:
        One result for each query, in order.
    """
    found = [Neighbours(np.empty(0, np.int64), np.empty(0, np.float32)) for _ in queries]
    block_rows = max(1, BLOCK_VALUES // max(1, len(queries)))
    for start in range(0, len(embeddings), block_rows):
        block = slice(start, start + block_rows)
        similarities = queries @ embeddings[block].T
        if usable is not None:
            similarities[:, ~usable[block]] = UNUSABLE
        for query, row in enumerate(similarities):
            found[query] = _best(found[query], _candidates(row, start, count), count)
    return [_at_least(min_similarity, each) for each in found]


def _candidates(similarities: NDArray[np.float32], start: int, count: int) -> Neighbours:
    """Return the rows of a block that may be among the best, in any order.

    Args:
        similarities: of the rows of the block.
        start: the first row of the block.
        count: the number of neighbours.
    """
    least = np.partition(similarities, -count)[-count] if len(similarities) > count else UNUSABLE
    # Rows that tie with the last one after rounding belong to them.
    rows = np.flatnonzero(similarities >= max(least - 2 * 10.0**-DIGITS, UNUSABLE + 1))
    return Neighbours(start + rows, np.round(similarities[rows], DIGITS))


def _best(first: Neighbours, second: Neighbours, count: int) -> Neighbours:
    rows = np.concatenate([first.rows, second.rows])
    similarities = np.concatenate([first.similarities, second.similarities])
    order = np.lexsort((rows, -similarities))[:count]
    return Neighbours(rows[order], similarities[order])


def _at_least(min_similarity: float, found: Neighbours) -> Neighbours:
    kept = found.similarities >= min_similarity
    return Neighbours(found.rows[kept], found.similarities[kept])
