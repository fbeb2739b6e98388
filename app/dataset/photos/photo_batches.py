"""Photos as model input, augmented for training in a way that a resumed run repeats."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from traceback import clear_frames

import numpy as np
import torch
from rich.progress import Progress
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader, Dataset

from app.core.images import ImageLimits, Preprocess, load_pixels
from app.errors import DataError, ImageError

BATCH_SIZE = 64
BRIGHTNESS = 0.2
MAX_STRETCH = 0.2


class Photos(Dataset[Tensor]):
    """uint8 (3, S, S) pixels of photos, on the one path that serving takes as well.

    Args:
        paths: N files.
        preprocess: the checkpoint's.
        augment: (seed, epoch) of the random mirroring and brightness; None for the plain photo.
        min_crop: smallest share of a photo's area that augmentation keeps; 1 keeps all of it.
        pixels: uint8 (N, 3, S, S), where the photos are decoded already.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        preprocess: Preprocess,
        augment: tuple[int, int] | None = None,
        min_crop: float = 1.0,
        pixels: Tensor | None = None,
    ) -> None:
        self._paths = paths
        self._preprocess = preprocess
        self._augment = augment
        self._min_crop = min_crop
        self._pixels = pixels

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Tensor:
        pixels = self._load(index) if self._pixels is None else self._pixels[index]
        if self._augment is None:
            return pixels
        draw = np.random.default_rng((*self._augment, index))
        return augmented(pixels, draw, self._min_crop)

    def _load(self, index: int) -> Tensor:
        path = self._paths[index]
        try:
            return load_pixels(path.read_bytes(), ImageLimits(), self._preprocess).values
        except (OSError, ImageError) as error:
            raise DataError(f"{path}: cannot be used: {error}") from error


def pixel_batches(
    paths: Sequence[Path],
    preprocess: Preprocess,
    *,
    workers: int = 0,
    progress: Progress | None = None,
    description: str = "photos",
) -> Iterator[Tensor]:
    """Plain photos in batches.

    Args:
        paths: N files.
        preprocess: the checkpoint's.
        workers: processes that load them.
        progress: where the time left is shown.
        description: what is shown beside it.

    Yields:
        (B, 3, S, S) uint8 pixels.

    Raises:
        DataError: a photo cannot be used.
    """
    loader = DataLoader(Photos(paths, preprocess), BATCH_SIZE, num_workers=workers)
    batches = loaded(loader)
    if progress is not None:
        batches = iter(progress.track(batches, total=len(loader), description=description))
    yield from batches


def loaded(loader: DataLoader[Tensor]) -> Iterator[Tensor]:
    """A loader's batches; a bad photo is told alike from this process and from a worker.

    Raises:
        DataError: a photo cannot be used.
    """
    try:
        yield from loader
    except DataError as error:  # a worker's comes with its whole traceback, the text at its end
        said = str(error).rpartition("DataError: ")[2].strip()
        # Torch's frames keep the worker processes, and the error keeps the frames: the garbage
        # collector would find them later, wherever that is, and wait 5 s for each process.
        clear_frames(error.__traceback__)
    else:
        return
    raise DataError(said)


def augmented(pixels: Tensor, draw: np.random.Generator, min_crop: float = 1.0) -> Tensor:
    """Mirror every other photo, change its brightness by up to a fifth and, if wanted, crop it.

    Args:
        pixels: uint8 (3, S, S).
        draw: seeded by run, epoch and photo, whichever process loads it, so that a resumed run
            sees the same pixels.
        min_crop: smallest share of the area to keep; the paper keeps all of it (section 2.3).

    Returns:
        uint8 (3, S, S).
    """
    values = (pixels.flip(-1) if is_mirrored(draw) else pixels).float()
    factor = draw.uniform(1 - BRIGHTNESS, 1 + BRIGHTNESS)
    if min_crop < 1:
        values = _cropped(values, draw, min_crop)
    return (values * factor).clamp(0, 255).to(torch.uint8)


def _cropped(values: Tensor, draw: np.random.Generator, min_crop: float) -> Tensor:
    """A random part, somewhat wider or taller than the whole, at the size of the whole."""
    side = values.shape[-1]
    area, stretch = draw.uniform(min_crop, 1), math.exp(draw.uniform(-MAX_STRETCH, MAX_STRETCH))
    height, width = (
        min(side, max(1, round(side * math.sqrt(area * ratio)))) for ratio in (stretch, 1 / stretch)
    )
    top, left = draw.integers(side - height + 1), draw.integers(side - width + 1)
    part = values[None, :, top : top + height, left : left + width]
    return interpolate(part, size=(side, side), mode="bilinear")[0]


def is_mirrored(draw: np.random.Generator) -> bool:
    """Whether a photo is mirrored: the first thing drawn from its generator."""
    return bool(draw.random() < 0.5)
