"""Samples photos of an archive for annotation (section 3.2)."""

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor


def sample_stratified_photos(
    strata: Mapping[str, str], count: int, draw: np.random.Generator
) -> list[str]:
    """Sample an equal number of photos from each stratum, or all of a smaller stratum.

    The numbers are equal rather than proportional, so that rare strata get enough photos.

    Args:
        strata: each file's stratum, such as its property's type.
        count: number of photos; all photos if there are fewer.
        draw: the random generator; the order of `strata` has no influence.

    Returns:
        Files, each once.
    """
    members: dict[str, list[str]] = {}
    for file in sorted(strata):
        members.setdefault(strata[file], []).append(file)
    shuffled = [
        [members[stratum][i] for i in draw.permutation(len(members[stratum]))]
        for stratum in sorted(members)
    ]
    order = [shuffled[i] for i in draw.permutation(len(shuffled))]
    largest = max(map(len, order), default=0)
    interleaved = [files[i] for i in range(largest) for files in order if i < len(files)]
    return interleaved[:count]


def sample_similar_photos(
    files: Sequence[str],
    embeddings: Tensor,
    queries: Tensor,
    *,
    top: int,
    count: int,
    draw: np.random.Generator,
) -> list[str]:
    """Sample from the photos that are most similar to the texts of a class.

    Args:
        files: N photos.
        embeddings: (N, D) float32 unit rows.
        queries: (Q, D) float32 unit rows, the texts; a photo's best similarity counts.
        top: number of most similar photos to sample from.
        count: number of photos to sample; all of the top if there are fewer.
        draw: the random generator; the order of `files` has no influence.

    Returns:
        Files, the most similar first.
    """
    best = (embeddings @ queries.T).amax(dim=1)
    order = sorted(range(len(files)), key=lambda i: (-best[i].item(), files[i]))[:top]
    chosen = draw.choice(len(order), size=min(count, len(order)), replace=False)
    return [files[order[i]] for i in sorted(chosen)]
