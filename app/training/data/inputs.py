"""The source of training batches: pixels, or features of a frozen image tower."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from app.core.images import Preprocess, normalize
from app.dataset.photos import PhotoDataset, draw_mirror_flip, iterate_batches
from app.training.config import TrainConfig


@dataclass(frozen=True, slots=True)
class Inputs:
    """The photos of a run, from which it draws batches.

    Attributes:
        paths: N photos.
        preprocess: the checkpoint's.
        config: the settings of augmentation and loading.
        device: the device of the batches.
        features: (2, N, F) float32, of the photos and their mirror images, instead of pixels.
        pixels: (N, 3, S, S) uint8, the decoded photos, if they are in memory.
    """

    paths: Sequence[Path]
    preprocess: Preprocess
    config: TrainConfig
    device: torch.device
    features: Tensor | None = None
    pixels: Tensor | None = None

    def batches(self, batches: Sequence[Tensor], epoch: int | None = None) -> Iterator[Tensor]:
        """Load batches of photos.

        Args:
            batches: positions of photos.
            epoch: seeds the augmentation, together with the run's seed; None: no augmentation.

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
            PhotoDataset(self.paths, self.preprocess, augment, self.config.min_crop, self.pixels),
            batch_sampler=[batch.tolist() for batch in batches],
            num_workers=self.config.workers,
            pin_memory=self.device.type == "cuda",
            # Its own, so that loading does not advance the generator of dropout.
            generator=torch.Generator(),
        )
        for pixels in iterate_batches(loader):
            on_device = pixels.to(self.device, non_blocking=True)
            yield normalize(on_device, self.preprocess, torch.float32)


def _view(augment: tuple[int, int], photo: int) -> int:
    return int(draw_mirror_flip(np.random.default_rng((*augment, photo))))
