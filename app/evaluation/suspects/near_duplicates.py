"""Finds near-duplicate photos: similar embeddings, confirmed by small grey copies of the photos."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress
from torch import Tensor

from app.core.images import Preprocess
from app.dataset.photos import pixel_batches

NEIGHBOURS = 10  # of each photo, by embedding
MIN_CORRELATION = 0.95  # of the grey copies
COPY_SIDE_PX = 32
FLAT = 1.0  # standard deviation of grey values, 0 to 255, below which a copy has no structure
BLOCK = 1024  # photos or pairs that are compared at once


@dataclass(frozen=True, slots=True)
class NearDuplicates:
    """Two photos of the same picture.

    Attributes:
        first: position of a photo.
        second: position of the other photo, after the first.
        score: correlation of the grey copies, at least `MIN_CORRELATION`; 1 for equal copies.
    """

    first: int
    second: int
    score: float


def find_near_duplicates(
    embeddings: Tensor,
    paths: Sequence[Path],
    preprocess: Preprocess,
    *,
    workers: int,
    progress: Progress,
) -> list[NearDuplicates]:
    """Find the pairs of photos that show the same picture, also at another size or mirrored.

    The nearest neighbours by embedding are candidates. Photos of one place from different positions
    are near each other too, so the grey copies decide.

    Args:
        embeddings: (N, D) float32 unit rows.
        paths: N photos.
        preprocess: the checkpoint's; gives the orientation and the interpolation.
        workers: processes that load photos.
        progress: shows the time left.

    Returns:
        Pairs, the most similar first.

    Raises:
        DataError: a photo cannot be used.
    """
    small = replace(preprocess, size_px=COPY_SIDE_PX)
    batches = pixel_batches(
        paths, small, workers=workers, progress=progress, description="near-duplicates"
    )
    copies = torch.cat([batch.to(torch.float32).mean(dim=1) for batch in batches])
    pairs = nearest_pairs(embeddings)
    found = [
        NearDuplicates(first, second, score)
        for (first, second), score in zip(
            pairs.tolist(), picture_correlations(copies, pairs).tolist(), strict=True
        )
        if score >= MIN_CORRELATION
    ]
    return sorted(found, key=lambda each: (-each.score, each.first, each.second))


def nearest_pairs(embeddings: Tensor) -> Tensor:
    """Return the pairs of a position and one of its `NEIGHBOURS` nearest, each pair once.

    Args:
        embeddings: (N, D) float32 unit rows.

    Returns:
        (P, 2) int64, the lower position first.
    """
    count = min(NEIGHBOURS + 1, len(embeddings))  # each photo is its own neighbour
    nearest = torch.cat(
        [(block @ embeddings.T).topk(count).indices for block in torch.split(embeddings, BLOCK)]
    )
    photo = torch.arange(len(embeddings))[:, None].expand_as(nearest)
    pairs = torch.stack([torch.minimum(photo, nearest), torch.maximum(photo, nearest)], dim=-1)
    return torch.from_numpy(np.unique(pairs[photo != nearest].numpy(), axis=0))


def picture_correlations(copies: Tensor, pairs: Tensor) -> Tensor:
    """Return the correlation of each pair's grey copies, the second as it is or mirrored.

    Args:
        copies: (N, S, S) float32, 0 to 255.
        pairs: (P, 2) positions.

    Returns:
        (P,) float32, at most 1; 0 if a copy has no structure.
    """
    centred = copies - copies.mean(dim=(1, 2), keepdim=True)
    flat = centred.std(dim=(1, 2), keepdim=True) < FLAT
    unit = torch.where(flat, 0, centred / centred.norm(dim=(1, 2), keepdim=True))
    mirrored = unit.flip(-1)
    found = [
        torch.maximum(
            (unit[first] * unit[second]).sum(dim=(1, 2)),
            (unit[first] * mirrored[second]).sum(dim=(1, 2)),
        )
        for first, second in (block.T for block in torch.split(pairs, BLOCK))
    ]
    return torch.cat(found)


def duplicate_groups(photos: int, duplicates: Iterable[NearDuplicates]) -> list[int]:
    """Return the group of each photo; near-duplicates, also through others, are in one group.

    Args:
        photos: number of photos N.
        duplicates: pairs of positions below N.

    Returns:
        N groups, each named by the position of its first photo.
    """
    group = list(range(photos))

    def first_of(photo: int) -> int:
        while group[photo] != photo:
            photo = group[photo]
        return photo

    for pair in duplicates:
        low, high = sorted((first_of(pair.first), first_of(pair.second)))
        group[high] = low
    return [first_of(photo) for photo in range(photos)]
