"""One loop that feeds the model with whatever waits.

There is no timer: a batch starts as soon as the model is free, with all that has arrived by
then. Under light load that is one image at once, under heavy load full batches.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from app.core.preprocess import stack
from app.errors import DrainingError, InferenceError

logger = logging.getLogger("mumic.serving")


@dataclass(frozen=True, slots=True)
class Embedding:
    """One image's embedding and what it cost.

    Attributes:
        values: (D,) float32, unit length, on the CPU.
        queue_s: seconds from arrival until its batch started.
        infer_s: seconds that its batch took.
    """

    values: Tensor
    queue_s: float
    infer_s: float


@dataclass(frozen=True, slots=True)
class _Waiting:
    pixels: Tensor
    arrived: float
    answer: asyncio.Future[Embedding]


class Batcher:
    """Gathers single images into batches for a model that takes one batch at a time.

    Args:
        embed: (B, 3, S, S) uint8 -> (B, D) float32; called in one thread of its own.
        max_batch_size: most images in one call.
        on_batch: told each batch's size and seconds.
    """

    def __init__(
        self,
        embed: Callable[[Tensor], Tensor],
        max_batch_size: int,
        on_batch: Callable[[int, float], None],
    ) -> None:
        self._embed = embed
        self._max_batch_size = max_batch_size
        self._on_batch = on_batch
        self._waiting: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._loop_task: asyncio.Task[None] | None = None
        self._closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    def start(self) -> None:
        """Start the loop; call it from a running event loop."""
        self._loop_task = asyncio.create_task(self._loop(), name="batcher")

    async def submit(self, pixels: Tensor) -> Embedding:
        """Wait for one image's embedding. Cancelling the wait takes the image out of the queue.

        Args:
            pixels: (3, S, S) uint8.

        Raises:
            InferenceError: the model failed on the batch that held the image.
            DrainingError: the batcher has been closed.
        """
        if self._closed:
            raise DrainingError("the service is stopping; send the request to another instance")
        answer: asyncio.Future[Embedding] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(pixels, time.perf_counter(), answer))
        self._arrived.set()
        return await answer

    async def close(self) -> None:
        """Answer what waits, then stop the loop and the model's thread."""
        self._closed = True
        self._arrived.set()
        if self._loop_task is not None:
            await self._loop_task
        self._thread.shutdown()

    async def _loop(self) -> None:
        while True:
            await self._arrived.wait()
            if batch := self._take():
                await self._run(batch)
            elif self._closed:
                return
            else:
                self._arrived.clear()

    def _take(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        while self._waiting and len(batch) < self._max_batch_size:
            entry = self._waiting.popleft()
            if not entry.answer.done():  # its client may have left
                batch.append(entry)
        return batch

    async def _run(self, batch: list[_Waiting]) -> None:
        started = time.perf_counter()
        loop = asyncio.get_running_loop()
        try:
            rows = await loop.run_in_executor(self._thread, self._embed_all, batch)
        except Exception as error:  # whatever the model raises, the loop lives and all are told
            logger.exception("the model failed on a batch of %d", len(batch))
            for entry in batch:
                if not entry.answer.done():
                    entry.answer.set_exception(_inference_error(error))
            return
        infer_s = time.perf_counter() - started
        self._on_batch(len(batch), infer_s)
        finite = torch.isfinite(rows).all(dim=1).tolist()
        for entry, row, usable in zip(batch, rows, finite, strict=True):
            if entry.answer.done():
                continue
            if usable:
                entry.answer.set_result(Embedding(row, started - entry.arrived, infer_s))
            else:
                logger.error("the model gave an embedding that is not finite")
                entry.answer.set_exception(_inference_error(None))

    def _embed_all(self, batch: list[_Waiting]) -> Tensor:
        rows = self._embed(stack([entry.pixels for entry in batch]))
        if rows.ndim != 2 or len(rows) != len(batch):
            raise ValueError(f"{len(batch)} images gave embeddings of shape {tuple(rows.shape)}")
        return rows


def _inference_error(cause: Exception | None) -> InferenceError:
    error = InferenceError("the model failed on the batch that held this image; try again")
    error.__cause__ = cause
    return error
