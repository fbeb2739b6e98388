"""Which photos of an archive to annotate (section 3.2)."""

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor


def sample_stratified_photos(
    strata: Mapping[str, str], count: int, draw: np.random.Generator
) -> list[str]:
    """Sample photos, as many of each stratum as of any other, as far as there are.

    Equal numbers rather than proportional ones: the archive's usual photos need no help.

    Args:
        strata: each file's stratum, such as its property's type.
        count: how many photos; all, where there are no more.
        draw: the only source of chance; the order of `strata` has no influence.

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
    turns = [shuffled[i] for i in draw.permutation(len(shuffled))]
    rounds = max(map(len, turns), default=0)
    in_turn = [files[i] for i in range(rounds) for files in turns if i < len(files)]
    return in_turn[:count]


def sample_similar_photos(
    files: Sequence[str],
    embeddings: Tensor,
    queries: Tensor,
    *,
    top: int,
    count: int,
    draw: np.random.Generator,
) -> list[str]:
    """Sample photos from those most like a class's texts.

    Args:
        files: N photos.
        embeddings: (N, D) float32 unit rows.
        queries: (Q, D) float32 unit rows, the class's texts; the best of them counts.
        top: how many of the most similar photos to sample from.
        count: how many to sample; all of the top, where it has no more.
        draw: the only source of chance; the order of `files` has no influence.

    Returns:
        Files, the most similar first.
    """
    best = (embeddings @ queries.T).amax(dim=1)
    order = sorted(range(len(files)), key=lambda i: (-best[i].item(), files[i]))[:top]
    chosen = draw.choice(len(order), size=min(count, len(order)), replace=False)
    return [files[order[i]] for i in sorted(chosen)]
