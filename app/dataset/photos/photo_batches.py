"""Photos as batches of model input, with reproducible augmentation for training."""

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


class PhotoDataset(Dataset[Tensor]):
    """Loads photos as uint8 (3, S, S) pixels, by the same code path as serving.

    Args:
        paths: N files.
        preprocess: the checkpoint's.
        augment: (seed, epoch) of the random mirroring and brightness; None disables augmentation.
        min_crop: smallest share of a photo's area that augmentation keeps; 1 keeps all of it.
        pixels: uint8 (N, 3, S, S), if the photos are decoded already.
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
        return augment_photo(pixels, draw, self._min_crop)

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
    """Load photos without augmentation, in batches.

    Args:
        paths: N files.
        preprocess: the checkpoint's.
        workers: processes that load photos.
        progress: shows the time left.
        description: the label of the progress bar.

    Yields:
        (B, 3, S, S) uint8 pixels.

    Raises:
        DataError: a photo cannot be used.
    """
    loader = DataLoader(PhotoDataset(paths, preprocess), BATCH_SIZE, num_workers=workers)
    batches = iterate_batches(loader)
    if progress is not None:
        batches = iter(progress.track(batches, total=len(loader), description=description))
    yield from batches


def iterate_batches(loader: DataLoader[Tensor]) -> Iterator[Tensor]:
    """Yield a loader's batches; errors have the same text from this process and from a worker.

    Raises:
        DataError: a photo cannot be used.
    """
    try:
        yield from loader
    except DataError as error:  # from a worker: a whole traceback, with the text at its end
        message = str(error).rpartition("DataError: ")[2].strip()
        # Frames of torch hold the worker processes, and the traceback holds the frames. The garbage
        # collector would free them later, in any thread, and wait 5 s for each process.
        clear_frames(error.__traceback__)
    else:
        return
    raise DataError(message)


def augment_photo(pixels: Tensor, draw: np.random.Generator, min_crop: float = 1.0) -> Tensor:
    """Mirror half of the photos, change brightness by up to 20 % and, with `min_crop`, crop.

    Args:
        pixels: uint8 (3, S, S).
        draw: seeded by run, epoch and photo, so that a resumed run sees the same pixels in any
            process.
        min_crop: smallest share of the area to keep; the paper keeps all of it (section 2.3).

    Returns:
        uint8 (3, S, S).
    """
    values = (pixels.flip(-1) if draw_mirror_flip(draw) else pixels).float()
    factor = draw.uniform(1 - BRIGHTNESS, 1 + BRIGHTNESS)
    if min_crop < 1:
        values = _cropped(values, draw, min_crop)
    return (values * factor).clamp(0, 255).to(torch.uint8)


def _cropped(values: Tensor, draw: np.random.Generator, min_crop: float) -> Tensor:
    """Return a random crop with a slightly changed aspect ratio, resized to the full size."""
    side = values.shape[-1]
    area, stretch = draw.uniform(min_crop, 1), math.exp(draw.uniform(-MAX_STRETCH, MAX_STRETCH))
    height, width = (
        min(side, max(1, round(side * math.sqrt(area * ratio)))) for ratio in (stretch, 1 / stretch)
    )
    top, left = draw.integers(side - height + 1), draw.integers(side - width + 1)
    crop = values[None, :, top : top + height, left : left + width]
    return interpolate(crop, size=(side, side), mode="bilinear")[0]


def draw_mirror_flip(draw: np.random.Generator) -> bool:
    """Draw whether a photo is mirrored; this is the first draw from a photo's generator."""
    return bool(draw.random() < 0.5)
