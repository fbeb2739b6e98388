"""An image tower that does as a test says, in the place of the real one."""

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
GOOD, RAISES, NAN, TOO_FEW = 200, 13, 14, 15  # grey values that the fake tower heeds


def scored(rows: Tensor) -> ScoredBatch:
    """Embeddings with scores, the same for every image."""
    return ScoredBatch(rows, torch.full((len(rows), CLASSES), 0.5))


class FakeTower:
    """Embeds every image as the same unit vector, once it may.

    Attributes:
        batches: the size of each batch that it was given.
        go: clear it, and batches wait in the model until it is set.
        memory: images for which it has memory at a time.
    """

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.memory = 2**20
        self.go = threading.Event()
        self.go.set()

    def __call__(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) uint8 -> (B, D); what fails is decided by the grey value of the images."""
        self.batches.append(len(pixels))
        if not self.go.wait(PATIENCE_S):
            raise TimeoutError("the test forgot the model")
        if len(pixels) > self.memory:
            raise torch.OutOfMemoryError("CUDA out of memory")
        greys = pixels[:, 0, 0, 0]
        if (greys == RAISES).any():
            raise RuntimeError("the inside, a secret")
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
        """What the fake says."""
        return scored(self._tower(pixels))

    def is_golden(self, embedding: Tensor) -> bool:
        """Whether it is the fake's."""
        return bool(embedding[0] == 1)


def grey_photo(value: int) -> bytes:
    """A PNG of one grey value."""
    return encoded(Image.new("RGB", (8, 8), (value,) * 3), "PNG")


def grey_pixels(value: int) -> Tensor:
    """(3, 4, 4) uint8 of one grey value."""
    return torch.full((3, 4, 4), value, dtype=torch.uint8)


def wait_until(condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Wait for what another thread or process does."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.005)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what the event loop does."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        await asyncio.sleep(0.005)


class ForwardLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock a test puts forward, instead of waiting.

    Attributes:
        ahead_s: how far.
    """

    ahead_s = 0.0

    def time(self) -> float:
        """What timeouts go by."""
        return super().time() + self.ahead_s


def go_forward(seconds: float) -> None:
    """Let time pass, in a coroutine that a `ForwardLoop` runs."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, ForwardLoop)
    loop.ahead_s += seconds
