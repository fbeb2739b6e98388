"""Exact nearest neighbours by cosine similarity."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK_ROWS = 65_536  # a block times 64 queries of float32 similarities takes 16 MiB
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
    empty = Neighbours(np.empty(0, np.int64), np.empty(0, np.float32))
    found = [empty] * len(queries)
    for start in range(0, len(embeddings), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        similarities = np.round(queries @ embeddings[block].T, DIGITS)
        kept = similarities >= min_similarity
        if usable is not None:
            kept &= usable[block]
        for query, (row, keep) in enumerate(zip(similarities, kept, strict=True)):
            candidates = np.flatnonzero(keep)
            best = found[query]
            rows = np.concatenate([best.rows, start + candidates])
            found[query] = _best(rows, np.concatenate([best.similarities, row[candidates]]), count)
    return found


def _best(rows: NDArray[np.int64], similarities: NDArray[np.float32], count: int) -> Neighbours:
    """Return the most similar of some rows; the lower row first on a tie."""
    if len(rows) > count:
        least = np.partition(similarities, -count)[-count]
        rows, similarities = rows[similarities >= least], similarities[similarities >= least]
    order = np.lexsort((rows, -similarities))[:count]
    return Neighbours(rows[order], similarities[order])
