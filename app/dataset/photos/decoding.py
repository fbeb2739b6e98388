"""Decodes every photo once before a run: finds photos that cannot be decoded, can keep pixels."""

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
from app.dataset.photos.photo_batches import PhotoDataset
from app.errors import DataError, OptionError

BATCH_SIZE = 64
MAX_MEMORY_SHARE = 0.8
MAX_NAMED = 10  # photos in an error message


@dataclass(frozen=True, slots=True)
class DecodedPhotos:
    """The result of decoding N photos.

    Attributes:
        errors: position to reason, for photos that cannot be decoded.
        pixels: (N, 3, S, S) uint8, zero where a photo cannot be decoded; None if not kept.
    """

    errors: Mapping[int, str]
    pixels: Tensor | None


def decode_photos(
    paths: Sequence[Path],
    preprocess: Preprocess,
    *,
    keep: bool,
    progress: Progress,
    workers: int = 0,
) -> DecodedPhotos:
    """Decode every photo.

    Args:
        paths: N files.
        preprocess: the checkpoint's.
        keep: whether to keep the pixels in memory, `decoded_size_bytes` of them.
        progress: shows the time left.
        workers: processes that load photos.

    Raises:
        OptionError: the pixels need more than 80 % of this machine's memory.
    """
    side = preprocess.size_px
    if keep:
        _check_memory(decoded_size_bytes(len(paths), preprocess))
    pixels = torch.zeros((len(paths), 3, side, side), dtype=torch.uint8) if keep else None
    attempts = DataLoader(
        _Attempts(PhotoDataset(paths, preprocess), keep),
        BATCH_SIZE,
        num_workers=workers,
        collate_fn=list,
    )
    errors: dict[int, str] = {}
    for batch in progress.track(attempts, description="decoding photos"):
        for index, photo, reason in batch:
            if reason:
                errors[index] = reason
            elif pixels is not None:
                pixels[index] = torch.from_numpy(photo)
    return DecodedPhotos(errors, pixels)


def drop_undecodable_photos(
    data: LabelledPhotos, decoded: DecodedPhotos, manifest: Path, max_bad: float
) -> tuple[LabelledPhotos, Tensor | None]:
    """Drop the photos that cannot be decoded.

    Args:
        data: N photos.
        decoded: the result of decoding them.
        manifest: the manifest's path, for the message.
        max_bad: how many photos may be dropped: a number of photos, or a share if below 1.

    Returns:
        The other photos, and their pixels if these were kept.

    Raises:
        DataError: more photos cannot be decoded (the message lists rows and files), or the
            training split would be empty.
    """
    allowed = int(max_bad * len(data.files)) if max_bad < 1 else int(max_bad)
    if len(decoded.errors) > allowed:
        named = "\n  ".join(undecodable_photo_lines(data, decoded)[:MAX_NAMED])
        unnamed = len(decoded.errors) - MAX_NAMED
        rest = f"\n  and {unnamed} more" if unnamed > 0 else ""
        raise DataError(
            f"{manifest}: {len(decoded.errors)} of {len(data.files)} photos cannot be decoded, "
            f"more than the {allowed} that --max-bad-photos allows:\n  {named}{rest}"
        )
    if not decoded.errors:
        return data, decoded.pixels
    good = [i for i in range(len(data.files)) if i not in decoded.errors]
    pixels = decoded.pixels
    if pixels is not None:
        for new, old in enumerate(good):  # in place: a copy may not fit in memory
            pixels[new] = pixels[old]
        pixels = pixels[: len(good)]
    kept = data.select(good)
    if not len(kept.indices("train")):
        raise DataError(f"{manifest}: no photo of the split train can be decoded")
    return kept, pixels


def undecodable_photo_lines(data: LabelledPhotos, decoded: DecodedPhotos) -> list[str]:
    """Return a line for each photo that cannot be decoded, with its row in the manifest."""
    return [
        f"row {data.row_numbers[i]}, column file: {reason}"
        for i, reason in sorted(decoded.errors.items())
    ]


def decoded_size_bytes(photos: int, preprocess: Preprocess) -> int:
    """Return the memory that decoded photos need."""
    return photos * 3 * preprocess.size_px**2


def _check_memory(needed_bytes: int) -> None:
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed_bytes > MAX_MEMORY_SHARE * memory_bytes:
        raise OptionError(
            "cache-photos",
            f"the photos need {needed_bytes / 1e9:,.1f} GB and this machine has "
            f"{memory_bytes / 1e9:,.1f} GB; run without it and with more --workers",
        )


class _Attempts(Dataset[tuple[int, NDArray[np.uint8], str]]):
    """Yields position, pixels and error text of each photo.

    The pixels are arrays, because a tensor from another process costs a file descriptor.
    """

    def __init__(self, photos: PhotoDataset, keep: bool) -> None:
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
