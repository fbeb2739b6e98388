"""A model's score function and the largest batch that it accepts."""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from app.core.images import stack
from app.core.model import ScoredBatch

logger = logging.getLogger("mumic.serving")


@dataclass(slots=True, eq=False)
class ScoringModel:
    """Scores batches of images; compared by identity.

    Attributes:
        score: maps (B, 3, S, S) uint8 to scores; inference workers call it concurrently.
        max_batch_size: most images in one call. It shrinks when the device runs out of memory.
    """

    score: Callable[[Tensor], ScoredBatch]
    max_batch_size: int

    def score_within_memory(self, pixels: list[Tensor]) -> ScoredBatch:
        """Score images in one call, or in halves if the device runs out of memory.

        Args:
            pixels: at least one image, each (3, S, S) uint8.

        Raises:
            torch.OutOfMemoryError: the device has no memory for a single image.
        """
        try:
            return self.score(stack(pixels))
        except torch.OutOfMemoryError:
            if len(pixels) == 1:
                raise
        # Outside the handler: the exception references the failed attempt's tensors.
        half = math.ceil(len(pixels) / 2)
        self.max_batch_size = min(self.max_batch_size, half)
        logger.warning(
            "Out of device memory with %d images; batches have at most %d from now on",
            len(pixels),
            self.max_batch_size,
        )
        torch.cuda.empty_cache()
        halves = [self.score_within_memory(part) for part in (pixels[:half], pixels[half:])]
        return ScoredBatch(
            torch.cat([scored.embeddings for scored in halves]),
            torch.cat([scored.logits for scored in halves]),
        )
