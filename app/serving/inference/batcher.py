"""The event-loop side of dynamic batching: queues images and runs batches in inference workers.

`BatchPolicy` decides which batches start when. An inference worker is a thread that calls the
model. On a CPU several workers with few threads each have a higher throughput than one with many:
no layer waits for its slowest thread, and a decoder that uses a core for a moment delays one worker
only. On a GPU the second worker copies its batch to the device while the first one computes
(docs/adr/0005-inference-workers.md).
"""

import asyncio
import heapq
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from app.core.model import ScoredBatch
from app.core.runtime import DaemonThreads, InferenceWorkers, SingleImageThreads, set_torch_threads
from app.errors import DrainingError, InferenceError
from app.serving.inference.batch_policy import BatchPlan, BatchPolicy, QueuedImage
from app.serving.inference.scoring_model import ScoringModel
from app.serving.observability import Timings

CLOSE_TIMEOUT_S = 2.0  # for batches whose requests have all been answered or cancelled

logger = logging.getLogger("mumic.serving")


@dataclass(frozen=True, slots=True)
class ScoredImage:
    """The model's output for one image.

    Attributes:
        embedding: (D,) float32, unit length, on the CPU.
        logits: (C,) float32, on the CPU.
    """

    embedding: Tensor
    logits: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class _Submission(QueuedImage):
    pixels: Tensor
    timings: Timings
    result: asyncio.Future[ScoredImage]


@dataclass(frozen=True, slots=True)
class _RunningBatch:
    worker: int
    images: int
    started_at_s: float


class Batcher:
    """Gathers single images into batches, each for one model.

    Args:
        workers: the number of inference workers and the threads of each.
        on_batch: called after each batch with its size and its duration in seconds.
        on_worker_start: called first in each worker's thread.

    Attributes:
        expected_images: images that are being decoded and will be submitted.
        virtual_time: the highest virtual start time of the images taken so far.
    """

    def __init__(
        self,
        workers: InferenceWorkers,
        on_batch: Callable[[int, float], None],
        on_worker_start: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_batch = on_batch
        self._policy = BatchPolicy(workers.count, workers.dedicated_cores)
        self._threads_shared = workers.threads
        self._single_image_threads = SingleImageThreads(
            preferred=workers.threads_single_image, fallback=workers.threads
        )
        self._queue: list[_Submission] = []
        self._running: dict[asyncio.Task[None], _RunningBatch] = {}
        self._changed = asyncio.Event()
        self._free_workers = list(range(workers.count))  # a heap: the lowest index is used first
        self._threads = [
            DaemonThreads(1, f"model-{worker}", on_worker_start) for worker in self._free_workers
        ]
        self._loop_task: asyncio.Task[None] | None = None
        self._closed = False
        self._batch_s = 0.0  # moving average of a batch's duration
        self._linger_timer: asyncio.TimerHandle | None = None
        self._last_in_flight = 1  # when the last batch started
        self.expected_images = 0
        self.virtual_time = 0

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def longest_batch_s(self) -> float:
        """Seconds since the oldest running batch started; 0 if none runs."""
        now_s = time.perf_counter()
        return max((now_s - batch.started_at_s for batch in self._running.values()), default=0.0)

    def start(self) -> None:
        """Start the loop; call it from a running event loop."""
        self._loop_task = asyncio.create_task(self._loop(), name="batcher")

    async def submit(
        self, model: ScoringModel, pixels: Tensor, virtual_start: int, timings: Timings
    ) -> ScoredImage:
        """Queue one image and wait for its scores. Cancellation removes it from the queue.

        Args:
            model: scores the image.
            pixels: (3, S, S) uint8.
            virtual_start: images with lower values are taken first; `virtual_time` is now.
            timings: receives the queueing and inference times.

        Raises:
            InferenceError: the model failed on the image's batch.
            DrainingError: the batcher is closed.
        """
        if self._closed:
            raise DrainingError
        result: asyncio.Future[ScoredImage] = asyncio.get_running_loop().create_future()
        timings.queue_began = now_s = time.perf_counter()
        self._queue.append(_Submission(model, virtual_start, now_s, pixels, timings, result))
        self._changed.set()
        return await result

    async def close(self) -> None:
        """Score the queued images, then stop the loop and the workers; a stuck one is abandoned."""
        self._closed = True
        self._changed.set()
        if self._loop_task is not None:
            await asyncio.wait([self._loop_task], timeout=CLOSE_TIMEOUT_S)
            self._loop_task.cancel()
        if self._running:
            logger.error("A batch that started %.0f s ago is abandoned", self.longest_batch_s)
        for thread in self._threads:
            thread.shutdown()

    async def _loop(self) -> None:
        while not (self._closed and not self._queue and not self._running):
            await self._changed.wait()
            self._changed.clear()
            # Cancelled images must not keep their memory while the model is stuck.
            self._queue = [entry for entry in self._queue if not entry.result.done()]
            computing = sum(batch.images for batch in self._running.values())
            in_flight = len(self._queue) + computing + self.expected_images
            plan = self._plan(computing)
            self._queue = plan.remaining
            if plan.linger_s > 0 and self._linger_timer is None:
                loop = asyncio.get_running_loop()
                self._linger_timer = loop.call_later(plan.linger_s, self._end_linger)
            if plan.batches:
                self._start(plan.batches, in_flight)

    def _plan(self, computing: int) -> BatchPlan[_Submission]:
        return self._policy.plan(
            self._queue,
            computing=computing,
            free_workers=len(self._free_workers),
            last_in_flight=self._last_in_flight,
            batch_s=0.0 if self._closed else self._batch_s,  # no linger while draining
            now_s=time.perf_counter(),
        )

    def _end_linger(self) -> None:
        self._linger_timer = None
        self._changed.set()

    def _start(self, batches: list[list[_Submission]], in_flight: int) -> None:
        # If others were in flight a moment ago, their next images arrive before this one is done.
        single = in_flight == self._last_in_flight == 1
        self._last_in_flight = in_flight
        threads = self._single_image_threads.choose() if single else self._threads_shared
        for batch in batches:
            self.virtual_time = max(self.virtual_time, batch[-1].virtual_start)
            worker = heapq.heappop(self._free_workers)
            run = asyncio.create_task(self._run(batch, worker, threads, single))
            self._running[run] = _RunningBatch(worker, len(batch), time.perf_counter())
            run.add_done_callback(self._finish)

    def _finish(self, run: asyncio.Task[None]) -> None:
        heapq.heappush(self._free_workers, self._running.pop(run).worker)
        self._changed.set()

    async def _run(self, batch: list[_Submission], worker: int, threads: int, single: bool) -> None:
        started_s = time.perf_counter()
        for entry in batch:
            entry.timings.infer_began, entry.timings.batch_size = started_s, len(batch)
        score = partial(_score, batch, threads)
        try:
            scored, finite = await asyncio.wrap_future(self._threads[worker].submit(score))
        except Exception as error:  # the loop must survive any error of the model
            logger.exception("The model failed on a batch of %d", len(batch))
            for entry in batch:
                if not entry.result.done():
                    entry.result.set_exception(_inference_error(error))
            return
        finally:
            ended_s = time.perf_counter()
            for entry in batch:
                entry.timings.infer_ended = ended_s
        infer_s = ended_s - started_s
        self._batch_s += (infer_s - self._batch_s) / 4
        if single and len(batch) == len(self._running) == 1:  # no other batch started meanwhile
            self._single_image_threads.record(threads, infer_s)
        for entry, embedding, logits, is_finite in zip(
            batch, scored.embeddings, scored.logits, finite, strict=True
        ):
            if entry.result.done():
                continue
            if is_finite:
                entry.result.set_result(ScoredImage(embedding, logits))
            else:
                logger.error("The model returned an embedding that is not finite")
                entry.result.set_exception(_inference_error(None))
        self._on_batch(len(batch), infer_s)  # last: an error in it must not withhold results


def _score(batch: list[_Submission], threads: int) -> tuple[ScoredBatch, list[bool]]:
    """Score a batch in a worker's thread; also return which images' embeddings are finite."""
    set_torch_threads(threads)  # in this worker's thread only
    scored = batch[0].model.score_within_memory([entry.pixels for entry in batch])
    rows = scored.embeddings
    if rows.ndim != 2 or len(rows) != len(batch):
        raise ValueError(f"{len(batch)} images gave embeddings of shape {tuple(rows.shape)}")
    return scored, torch.isfinite(rows).all(dim=1).tolist()


def _inference_error(cause: Exception | None) -> InferenceError:
    error = InferenceError("the model failed on the batch that held this image; try again")
    error.__cause__ = cause
    return error
