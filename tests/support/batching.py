"""A running batcher with one model."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import torch

from app.core.model import ScoredBatch
from app.core.runtime import InferenceWorkers
from app.serving.inference.batcher import Batcher, Model, ScoredImage
from app.serving.observability import Timings
from tests.support.fakes import (
    GOOD,
    FakeTower,
    grey_pixels,
    scored,
    until,
)

ONE = InferenceWorkers(1, threads=1, threads_alone=1)


class OneModel(Batcher):
    """A batcher whose images all go to one model, unless another is named."""

    def __init__(
        self,
        score: Callable[[torch.Tensor], ScoredBatch],
        max_batch_size: int,
        lanes: InferenceWorkers = ONE,
    ) -> None:
        super().__init__(lanes, lambda _images, _seconds: self.note())
        self.model = Model(score, max_batch_size)

    def note(self) -> None:
        """A batch has been answered."""

    async def put(self, pixels: torch.Tensor, turn: int = 0) -> ScoredImage:
        return await self.submit(self.model, pixels, turn, Timings())


@asynccontextmanager
async def running(
    tower: FakeTower, max_batch_size: int = 4, lanes: InferenceWorkers = ONE
) -> AsyncIterator[OneModel]:
    batcher = OneModel(lambda pixels: scored(tower(pixels)), max_batch_size, lanes)
    batcher.start()
    try:
        yield batcher
    finally:
        tower.go.set()
        await batcher.close()


async def submit_in_order(
    batcher: OneModel, tower: FakeTower, greys: Sequence[int]
) -> list[asyncio.Task[ScoredImage]]:
    """Hold the model on a first image, let the others queue behind it, give all their tasks."""
    tower.go.clear()
    first = asyncio.create_task(batcher.put(grey_pixels(GOOD)))
    await until(lambda: tower.batches == [1])
    tasks = [asyncio.create_task(batcher.put(grey_pixels(grey))) for grey in greys]
    await until(lambda: len(batcher) == len(greys))
    return [first, *tasks]
