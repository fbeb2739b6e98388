"""A running batcher with one model."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import torch

from app.core.model import ScoredBatch
from app.core.runtime import InferenceWorkers
from app.serving.inference.batcher import Batcher, ScoredImage
from app.serving.inference.scoring_model import ScoringModel
from app.serving.observability import Timings
from tests.support.fakes import (
    GOOD,
    FakeTower,
    grey_pixels,
    scored,
    until,
)

ONE_WORKER = InferenceWorkers(1, threads=1, threads_single_image=1)


class SingleModelBatcher(Batcher):
    """A batcher with one default model."""

    def __init__(
        self,
        score: Callable[[torch.Tensor], ScoredBatch],
        max_batch_size: int,
        workers: InferenceWorkers = ONE_WORKER,
    ) -> None:
        super().__init__(workers, lambda _images, _seconds: self.observe_batch())
        self.model = ScoringModel(score, max_batch_size)

    def observe_batch(self) -> None:
        """Called after each batch."""

    async def put(self, pixels: torch.Tensor, virtual_start: int = 0) -> ScoredImage:
        """Submit an image to the model."""
        return await self.submit(self.model, pixels, virtual_start, Timings())


@asynccontextmanager
async def running(
    tower: FakeTower, max_batch_size: int = 4, workers: InferenceWorkers = ONE_WORKER
) -> AsyncIterator[SingleModelBatcher]:
    """Run a batcher around a fake tower."""
    batcher = SingleModelBatcher(lambda pixels: scored(tower(pixels)), max_batch_size, workers)
    batcher.start()
    try:
        yield batcher
    finally:
        tower.go.set()
        await batcher.close()


async def submit_in_order(
    batcher: SingleModelBatcher, tower: FakeTower, greys: Sequence[int]
) -> list[asyncio.Task[ScoredImage]]:
    """Block the model with a first image, queue the others, and return all their tasks."""
    tower.go.clear()
    first = asyncio.create_task(batcher.put(grey_pixels(GOOD)))
    await until(lambda: tower.batches == [1])
    tasks = [asyncio.create_task(batcher.put(grey_pixels(grey))) for grey in greys]
    await until(lambda: len(batcher) == len(greys))
    return [first, *tasks]
