"""Places photos on a plane by t-SNE of their embeddings (van der Maaten and Hinton 2008)."""

import numpy as np
from numpy.typing import NDArray
from openTSNE import TSNE
from threadpoolctl import threadpool_limits

GRID = 65_535  # coordinates are 16-bit
PERPLEXITY = 30  # neighbours that a photo is kept near to
MIN_PHOTOS = 10  # with fewer, t-SNE has no neighbourhoods to keep
MIN_SPREAD = 1e-5  # embeddings of copies differ by rounding
SEPARATION = 2.0  # grid steps between photos of one place
GOLDEN_ANGLE_RAD = np.pi * (3 - np.sqrt(5))


def place_photos(embeddings: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Place photos so that similar ones are near each other.

    The same embeddings give the same places: t-SNE runs with a fixed seed on one thread, since
    its sums depend on the number of threads. Photos of the same place, such as copies, are placed
    next to each other.

    Args:
        embeddings: (N, D) float32 unit rows, N at least 1.

    Returns:
        (N, 2) coordinates, x and y in [0, GRID]; one of them spans the whole range.
    """
    with threadpool_limits(1):
        if len(embeddings) < MIN_PHOTOS or np.ptp(embeddings, axis=0).max() < MIN_SPREAD:
            plane = _principal_plane(embeddings)
        else:
            tsne = TSNE(
                perplexity=min(PERPLEXITY, (len(embeddings) - 1) / 3),
                metric="cosine",
                initialization="pca",
                random_state=0,
                n_jobs=1,
            )
            plane = np.asarray(tsne.fit(embeddings))
    return _separate(_fit_to_grid(plane))


def _principal_plane(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Project rows onto their first two principal components, with zeros for missing ones."""
    centred = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    plane = np.zeros((len(rows), 2))
    kept = min(2, len(singular))
    plane[:, :kept] = left[:, :kept] * singular[:kept]
    return plane


def _fit_to_grid(plane: NDArray[np.float64]) -> NDArray[np.int64]:
    """Scale to the grid, with the same scale on both axes, in the middle."""
    low, high = plane.min(axis=0), plane.max(axis=0)
    size = float((high - low).max())
    scale = GRID / size if size > MIN_SPREAD else 0.0
    middle = (low + high) / 2
    grid: NDArray[np.int64] = np.rint((plane - middle) * scale + GRID / 2).astype(np.int64)
    return grid


def _separate(grid: NDArray[np.int64]) -> NDArray[np.uint16]:
    """Move photos of the same place onto a spiral around it; the first one stays."""
    _, place, counts = np.unique(grid, axis=0, return_inverse=True, return_counts=True)
    place = place.ravel()
    by_place = np.argsort(place, kind="stable")
    rank = np.empty(len(grid), np.int64)
    rank[by_place] = np.arange(len(grid)) - (np.cumsum(counts) - counts)[place[by_place]]
    radius, angle = SEPARATION * np.sqrt(rank), GOLDEN_ANGLE_RAD * rank
    moved = grid + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    separated: NDArray[np.uint16] = np.rint(moved).clip(0, GRID).astype(np.uint16)
    return separated
