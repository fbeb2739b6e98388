"""A fake image tower that tests control, a manual clock, and functions that wait."""

import asyncio
import threading
import time
from collections.abc import Callable

import torch
from PIL import Image
from torch import Tensor

from app.core.classifier import Classifier
from app.core.model import ScoredBatch
from tests.support.photos import encoded

PATIENCE_S = 20
DIMENSION, CLASSES = 32, 120  # of the tiny checkpoint
GOOD, RAISES, NAN, TOO_FEW = 200, 13, 14, 15  # grey values that select what the fake tower does


def scored(rows: Tensor) -> ScoredBatch:
    """Add equal scores to embeddings."""
    return ScoredBatch(rows, torch.zeros(len(rows), CLASSES))


class FakeTower:
    """Embeds every image as the same unit vector, once `go` is set.

    Attributes:
        batches: the size of each batch.
        go: while it is cleared, batches block in the model.
        memory: the largest batch before it runs out of memory.
    """

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.memory = 2**20
        self.go = threading.Event()
        self.go.set()

    def __call__(self, pixels: Tensor) -> Tensor:
        """Embed (B, 3, S, S) uint8 as (B, D); the images' grey values select failures."""
        self.batches.append(len(pixels))
        if not self.go.wait(PATIENCE_S):
            raise TimeoutError("the test did not release the model")
        if len(pixels) > self.memory:
            raise torch.OutOfMemoryError("CUDA out of memory")
        greys = pixels[:, 0, 0, 0]
        if (greys == RAISES).any():
            raise RuntimeError("internal detail, a secret")
        rows = torch.zeros(len(pixels), DIMENSION)
        rows[:, 0] = 1
        rows[greys == NAN] = torch.nan
        return rows[1:] if (greys == TOO_FEW).any() else rows


class FakeClassifier(Classifier):
    """A real classifier with a fake image tower."""

    def __init__(self, real: Classifier, tower: FakeTower) -> None:
        vars(self).update(vars(real))
        self._tower = tower

    def score_images(self, pixels: Tensor) -> ScoredBatch:
        """Return the fake tower's embeddings with equal scores."""
        return scored(self._tower(pixels))

    def is_golden(self, embedding: Tensor) -> bool:
        """Return whether the fake tower computed the embedding."""
        return bool(embedding[0] == 1)


def grey_photo(value: int) -> bytes:
    """Build a PNG of one grey value."""
    return encoded(Image.new("RGB", (8, 8), (value,) * 3), "PNG")


def grey_pixels(value: int) -> Tensor:
    """Build (3, 4, 4) uint8 pixels of one grey value."""
    return torch.full((3, 4, 4), value, dtype=torch.uint8)


def wait_until(condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Wait until another thread or process makes a condition true."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "the condition never became true"
        time.sleep(0.005)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the event loop makes a condition true."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "the condition never became true"
        await asyncio.sleep(0.005)


class ManualClockLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock a test advances, instead of waiting.

    Attributes:
        ahead_s: seconds by which the clock is ahead.
    """

    ahead_s = 0.0

    def time(self) -> float:
        """Return the time that timeouts use."""
        return super().time() + self.ahead_s


def advance_clock(seconds: float) -> None:
    """Advance the clock of the running `ManualClockLoop`."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, ManualClockLoop)
    loop.ahead_s += seconds
