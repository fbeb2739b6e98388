"""What the trained part of the image tower sees: pixels, or features where the rest is frozen."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from app.core.images import Preprocess, normalize
from app.dataset.photos import Photos, is_mirrored, loaded
from app.training.config import TrainConfig


@dataclass(frozen=True, slots=True)
class Inputs:
    """Where batches come from.

    Attributes:
        paths: N photos.
        preprocess: the checkpoint's.
        config: the settings of augmentation and loading.
        device: where batches are wanted.
        features: (2, N, F) float32, plain and mirrored, instead of pixels.
        pixels: (N, 3, S, S) uint8, photos that are decoded already.
    """

    paths: Sequence[Path]
    preprocess: Preprocess
    config: TrainConfig
    device: torch.device
    features: Tensor | None = None
    pixels: Tensor | None = None

    def batches(self, batches: Sequence[Tensor], epoch: int | None = None) -> Iterator[Tensor]:
        """Inputs of each batch of photos.

        Args:
            batches: positions of photos.
            epoch: augment them as seed and epoch decide; None: plain photos.

        Yields:
            (B, F) features or (B, 3, S, S) normalised pixels, float32, on the device.
        """
        augment = None if epoch is None else (self.config.seed, epoch)
        if self.features is not None:
            for batch in batches:
                view = [0 if augment is None else _view(augment, int(i)) for i in batch]
                yield self.features[view, batch].to(self.device)
            return
        loader = DataLoader(
            Photos(self.paths, self.preprocess, augment, self.config.min_crop, self.pixels),
            batch_sampler=[batch.tolist() for batch in batches],
            num_workers=self.config.workers,
            pin_memory=self.device.type == "cuda",
            # Its own, or a run that resumes within an epoch would draw dropout one number later.
            generator=torch.Generator(),
        )
        for pixels in loaded(loader):
            there = pixels.to(self.device, non_blocking=True)
            yield normalize(there, self.preprocess, torch.float32)


def _view(augment: tuple[int, int], photo: int) -> int:
    return int(is_mirrored(np.random.default_rng((*augment, photo))))
