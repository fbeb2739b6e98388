"""Every photo decoded once before a run starts: what cannot be is known, the rest can be kept."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from app.core.images import Preprocess
from app.dataset.labelled import LabelledPhotos
from app.dataset.photos.photo_batches import Photos
from app.errors import DataError, OptionError

BATCH_SIZE = 64
LARGEST_SHARE_OF_MEMORY = 0.8
MOST_NAMED = 10  # bad photos in a message


@dataclass(frozen=True, slots=True)
class Decoded:
    """What became of N photos.

    Attributes:
        bad: position to reason, of those that cannot be decoded.
        pixels: (N, 3, S, S) uint8, zero where a photo is bad; None if they were not to be kept.
    """

    bad: Mapping[int, str]
    pixels: Tensor | None


def decode_photos(
    paths: Sequence[Path],
    preprocess: Preprocess,
    *,
    keep: bool,
    progress: Progress,
    workers: int = 0,
) -> Decoded:
    """Decode every photo.

    Args:
        paths: N files.
        preprocess: the checkpoint's.
        keep: whether to keep the pixels in memory; `pixel_bytes` says how much that takes.
        progress: where the time left is shown.
        workers: processes that load photos.

    Raises:
        OptionError: this machine clearly has not the memory.
    """
    side = preprocess.size_px
    if keep:
        _refuse_too_large(pixel_bytes(len(paths), preprocess))
    pixels = torch.zeros((len(paths), 3, side, side), dtype=torch.uint8) if keep else None
    attempts = DataLoader(
        _Attempts(Photos(paths, preprocess), keep), BATCH_SIZE, num_workers=workers, collate_fn=list
    )
    bad: dict[int, str] = {}
    for batch in progress.track(attempts, description="decoding photos"):
        for index, photo, reason in batch:
            if reason:
                bad[index] = reason
            elif pixels is not None:
                pixels[index] = torch.from_numpy(photo)
    return Decoded(bad, pixels)


def without_bad(
    data: LabelledPhotos, decoded: Decoded, manifest: Path, most: float
) -> tuple[LabelledPhotos, Tensor | None]:
    """Leave out the photos that cannot be decoded.

    Args:
        data: N photos.
        decoded: what became of them.
        manifest: where they are named, for the message.
        most: how many may be left out: a number of photos, or below 1 a share of them.

    Returns:
        The others, and their pixels where they were kept.

    Raises:
        DataError: more are bad, naming rows and files; or none is left to train on.
    """
    allowed = int(most * len(data.files)) if most < 1 else int(most)
    if len(decoded.bad) > allowed:
        named = "\n  ".join(bad_photos(data, decoded)[:MOST_NAMED])
        rest = f"\n  and {len(decoded.bad) - MOST_NAMED} more" * (len(decoded.bad) > MOST_NAMED)
        raise DataError(
            f"{manifest}: {len(decoded.bad)} of {len(data.files)} photos cannot be decoded, more "
            f"than the {allowed} that --max-bad-photos allows:\n  {named}{rest}"
        )
    if not decoded.bad:
        return data, decoded.pixels
    good = [i for i in range(len(data.files)) if i not in decoded.bad]
    pixels = decoded.pixels
    if pixels is not None:
        for new, old in enumerate(good):  # in their place: there may be no room for a copy
            pixels[new] = pixels[old]
        pixels = pixels[: len(good)]
    kept = data.select(good)
    if not len(kept.indices("train")):
        raise DataError(f"{manifest}: no photo of the part train can be decoded")
    return kept, pixels


def bad_photos(data: LabelledPhotos, decoded: Decoded) -> list[str]:
    """A line for each photo that cannot be decoded, with its row in the manifest."""
    return [
        f"row {data.lines[i]}, column file: {reason}" for i, reason in sorted(decoded.bad.items())
    ]


def pixel_bytes(photos: int, preprocess: Preprocess) -> int:
    """How much memory decoded photos take."""
    return photos * 3 * preprocess.size_px**2


def _refuse_too_large(needed: int) -> None:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > LARGEST_SHARE_OF_MEMORY * memory:
        raise OptionError(
            "cache-photos",
            f"the photos need {needed / 1e9:,.1f} GB and this machine has {memory / 1e9:,.1f} GB; "
            "leave it out and give more --workers",
        )


class _Attempts(Dataset[tuple[int, NDArray[np.uint8], str]]):
    """Position, pixels and what is wrong of each photo.

    Arrays, because a tensor from another process costs a file descriptor.
    """

    def __init__(self, photos: Photos, keep: bool) -> None:
        self._photos = photos
        self._keep = keep

    def __len__(self) -> int:
        return len(self._photos)

    def __getitem__(self, index: int) -> tuple[int, NDArray[np.uint8], str]:
        nothing = np.empty(0, dtype=np.uint8)
        try:
            pixels = self._photos[index]
        except DataError as error:
            return index, nothing, str(error)
        return index, pixels.numpy() if self._keep else nothing, ""
