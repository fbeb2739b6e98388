"""Photos as model input, augmented for training in a way that a resumed run repeats."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from app.core.images import ImageLimits
from app.core.preprocess import Preprocess, load_pixels
from app.errors import DataError, ImageError

BRIGHTNESS = 0.2


class Photos(Dataset[Tensor]):
    """uint8 (3, S, S) pixels of photos, on the one path that serving takes as well.

    Args:
        paths: N files.
        preprocess: the checkpoint's.
        augment: (seed, epoch) of the random mirroring and brightness; None for the plain photo.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        preprocess: Preprocess,
        augment: tuple[int, int] | None = None,
    ) -> None:
        self._paths = paths
        self._preprocess = preprocess
        self._augment = augment

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Tensor:
        path = self._paths[index]
        try:
            pixels = load_pixels(path.read_bytes(), ImageLimits(), self._preprocess).values
        except (OSError, ImageError) as error:
            raise DataError(f"{path}: cannot be used: {error}") from error
        return pixels if self._augment is None else augmented(pixels, *self._augment, index)


def augmented(pixels: Tensor, seed: int, epoch: int, index: int) -> Tensor:
    """Mirror every other photo and change its brightness by up to a fifth.

    Nothing is cropped (section 2.3). What is drawn depends on the arguments alone, whichever
    process loads the photo, so that a resumed run sees the same pixels.

    Args:
        pixels: uint8 (3, S, S).
        seed: of the run, at least 0.
        epoch: from 0.
        index: of the photo in the data.

    Returns:
        uint8 (3, S, S).
    """
    draw = np.random.default_rng((seed, epoch, index))
    mirrored = pixels.flip(-1) if is_mirrored(draw) else pixels
    factor = draw.uniform(1 - BRIGHTNESS, 1 + BRIGHTNESS)
    return (mirrored.float() * factor).clamp(max=255).to(torch.uint8)


def is_mirrored(draw: np.random.Generator) -> bool:
    """Whether a photo is mirrored: the first thing drawn from its generator."""
    return bool(draw.random() < 0.5)
