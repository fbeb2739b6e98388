"""One loop that feeds the model with whatever waits.

A batch starts as soon as a lane to the model is free, with its share of all that has arrived by
then. Under light load that is one image at once, under heavy load full batches. In between, answers
go out together and the next requests come together: so until as many are back as were around when
the last batch began, an image waits for company, for a fraction of what a batch takes.

On a CPU the share is one lane's of all that waits and computes: the other lanes end soon, and would
have nothing to do. On a GPU a lane takes all that waits, since larger batches are faster there.

Images are taken by their turns, which are times of a clock that goes on with each image that the
model sees: a request's first image has the time of its arrival, its second one the next, and so on
(start-time fair queueing). So a request of many images takes one place among others at a time.

A lane is a thread that calls the model. On a CPU several lanes of few threads each do more than
one lane of many, since nobody waits for the slowest thread after every layer, and decoders that
take a core for a moment hold up one lane alone. On a GPU the second lane copies its batch there
while the first one computes.
"""

import asyncio
import heapq
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from app.core.images import stack
from app.core.model import ScoredBatch
from app.core.runtime import DaemonThreads, InferenceWorkers, SingleImageThreads, compute_with
from app.errors import DrainingError, InferenceError
from app.serving.observability import Timings

# Of a batch's time: what is lost at most, where three images that begin together gain more.
LINGER_SHARE = 0.1
ENDS_WITHIN_S = 2.0  # a batch for which nobody waits any more

logger = logging.getLogger("mumic.serving")


@dataclass(frozen=True, slots=True)
class ScoredImage:
    """What the model says of one image.

    Attributes:
        embedding: (D,) float32, unit length, on the CPU.
        probabilities: (C,) float32 in [0, 1], on the CPU.
    """

    embedding: Tensor
    probabilities: Tensor


@dataclass(slots=True, eq=False)
class Model:
    """What images are given to.

    Attributes:
        score: given (B, 3, S, S) uint8; called in the lanes' threads.
        max_batch_size: most images in one call; less once the device had no memory for so many.
    """

    score: Callable[[Tensor], ScoredBatch]
    max_batch_size: int


@dataclass(frozen=True, slots=True)
class _QueuedImage:
    model: Model
    pixels: Tensor
    turn: int
    stages: Timings
    answer: asyncio.Future[ScoredImage]


@dataclass(frozen=True, slots=True)
class _Running:
    lane: int
    images: int
    began: float


class Batcher:
    """Gathers single images into batches, each for one model.

    Args:
        lanes: how many calls at a time, and the threads of each.
        on_batch: told each batch's size and seconds.
        on_worker_start: called first in each lane's thread.
    """

    def __init__(
        self,
        lanes: InferenceWorkers,
        on_batch: Callable[[int, float], None],
        on_worker_start: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_batch = on_batch
        self._lanes = lanes
        self._lone = SingleImageThreads(many=lanes.threads_alone, few=lanes.threads)
        self._waiting: list[_QueuedImage] = []
        self._running: dict[asyncio.Task[None], _Running] = {}
        self._changed = asyncio.Event()
        self._free = list(range(lanes.count))  # a heap: the first lane comes first
        self._threads = [DaemonThreads(1, f"model-{lane}", on_worker_start) for lane in self._free]
        self._loop_task: asyncio.Task[None] | None = None
        self._closed = False
        self._batch_s = 0.0  # what a batch takes, lately
        self._timer: asyncio.TimerHandle | None = None
        self._company = 1  # images that were around when the last batch began
        self.coming = 0  # images that are about to be submitted: beside them nobody is alone
        self.turn = 0  # of the image that was last taken

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def _computing(self) -> int:
        return sum(batch.images for batch in self._running.values())

    @property
    def longest_batch_s(self) -> float:
        """Seconds since the oldest batch began that has not ended; 0 where none runs."""
        now = time.perf_counter()
        return max((now - batch.began for batch in self._running.values()), default=0.0)

    def start(self) -> None:
        """Start the loop; call it from a running event loop."""
        self._loop_task = asyncio.create_task(self._loop(), name="batcher")

    async def submit(self, model: Model, pixels: Tensor, turn: int, stages: Timings) -> ScoredImage:
        """Wait for one image's scores. Cancelling the wait takes the image out of the queue.

        Args:
            model: that scores it.
            pixels: (3, S, S) uint8.
            turn: images with lower ones are taken before; `self.turn` is now.
            stages: where to note its wait and its batch.

        Raises:
            InferenceError: the model failed on the batch that held the image.
            DrainingError: the batcher has been closed.
        """
        if self._closed:
            raise DrainingError
        answer: asyncio.Future[ScoredImage] = asyncio.get_running_loop().create_future()
        stages.queue_began = time.perf_counter()
        self._waiting.append(_QueuedImage(model, pixels, turn, stages, answer))
        self._changed.set()
        return await answer

    async def close(self) -> None:
        """Answer what waits, then stop the loop and the lanes; one that is stuck is left behind."""
        self._closed = True
        self._changed.set()
        if self._loop_task is not None:
            await asyncio.wait([self._loop_task], timeout=ENDS_WITHIN_S)
            self._loop_task.cancel()
        if self._running:
            logger.error("a batch that began %.0f s ago is left behind", self.longest_batch_s)
        for thread in self._threads:
            thread.end()

    async def _loop(self) -> None:
        while not (self._closed and not self._waiting and not self._running):
            await self._changed.wait()
            self._changed.clear()
            around = len(self._waiting) + self._computing
            batches = self._take()
            if not batches:
                continue
            # Where others were a moment ago, they will be back before all cores are done.
            alone = around + self.coming == self._company == 1
            self._company = around + self.coming
            threads = self._lone.choose() if alone else self._lanes.threads
            for batch in batches:
                lane = heapq.heappop(self._free)
                run = asyncio.create_task(self._run(batch, lane, threads, alone))
                self._running[run] = _Running(lane, len(batch), time.perf_counter())
                run.add_done_callback(self._ended)

    def _ended(self, run: asyncio.Task[None]) -> None:
        heapq.heappush(self._free, self._running.pop(run).lane)
        self._changed.set()

    def _take(self) -> list[list[_QueuedImage]]:
        """Share what waits for the first image's model among the free lanes; no batch is empty."""
        # Clients leave, and nothing of theirs stays while the model is stuck.
        self._waiting = waiting = [entry for entry in self._waiting if not entry.answer.done()]
        if not self._free or not waiting or self._lingers(waiting):
            return []
        waiting.sort(key=lambda entry: entry.turn)
        # Another model waits with it for a moment only, while one takes the other's place.
        model = waiting[0].model
        own = [entry for entry in waiting if entry.model is model]
        if self._lanes.own_cores:
            share = math.ceil((len(own) + self._computing) / self._lanes.count)
        else:
            share = math.ceil(len(own) / len(self._free))
        share = min(model.max_batch_size, share)
        taken = own[: share * len(self._free)]
        gone = set(map(id, taken))
        self._waiting = [entry for entry in waiting if id(entry) not in gone]
        self.turn = max([self.turn, *(entry.turn for entry in taken)])
        return [taken[start : start + share] for start in range(0, len(taken), share)]

    def _lingers(self, waiting: list[_QueuedImage]) -> bool:
        if self._closed or len(waiting) + self._computing >= self._company:
            return False
        if len(waiting) >= waiting[0].model.max_batch_size * len(self._free):
            return False
        since = min(entry.stages.queue_began for entry in waiting)
        left_s = since + LINGER_SHARE * self._batch_s - time.perf_counter()
        if left_s <= 0:
            return False
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(left_s, self._stop_waiting)
        return True

    def _stop_waiting(self) -> None:
        self._timer = None
        self._changed.set()

    async def _run(self, batch: list[_QueuedImage], lane: int, threads: int, alone: bool) -> None:
        started = time.perf_counter()
        for entry in batch:
            entry.stages.infer_began, entry.stages.batch_size = started, len(batch)
        score = partial(self._score_all, batch, threads)
        try:
            scored, finite = await asyncio.wrap_future(self._threads[lane].call(score))
        except Exception as error:  # whatever the model raises, the loop lives and all are told
            logger.exception("the model failed on a batch of %d", len(batch))
            for entry in batch:
                if not entry.answer.done():
                    entry.answer.set_exception(_inference_error(error))
            return
        finally:
            ended = time.perf_counter()
            for entry in batch:
                entry.stages.infer_ended = ended
        infer_s = ended - started
        self._batch_s += (infer_s - self._batch_s) / 4
        if alone and len(batch) == len(self._running) == 1:  # to the end
            self._lone.note(threads, infer_s)
        for entry, embedding, probabilities, usable in zip(
            batch, scored.embeddings, scored.probabilities, finite, strict=True
        ):
            if entry.answer.done():
                continue
            if usable:
                entry.answer.set_result(ScoredImage(embedding, probabilities))
            else:
                logger.error("the model gave an embedding that is not finite")
                entry.answer.set_exception(_inference_error(None))
        self._on_batch(len(batch), infer_s)  # last: what fails in it keeps no answer back

    def _score_all(self, batch: list[_QueuedImage], threads: int) -> tuple[ScoredBatch, list[bool]]:
        """The batch's scores, and of which images they are finite."""
        compute_with(threads)  # of this lane alone
        scored = _score_within_memory(batch[0].model, [entry.pixels for entry in batch])
        rows = scored.embeddings
        if rows.ndim != 2 or len(rows) != len(batch):
            raise ValueError(f"{len(batch)} images gave embeddings of shape {tuple(rows.shape)}")
        return scored, torch.isfinite(rows).all(dim=1).tolist()


def _score_within_memory(model: Model, pixels: list[Tensor]) -> ScoredBatch:
    try:
        return model.score(stack(pixels))
    except torch.OutOfMemoryError:
        if len(pixels) == 1:
            raise
    # Not within the handler: the error keeps the failed attempt's tensors.
    half = math.ceil(len(pixels) / 2)
    model.max_batch_size = min(model.max_batch_size, half)
    logger.warning(
        "the device has no memory for %d images; at most %d from now on",
        len(pixels),
        model.max_batch_size,
    )
    torch.cuda.empty_cache()
    parts = [_score_within_memory(model, part) for part in (pixels[:half], pixels[half:])]
    return ScoredBatch(
        torch.cat([part.embeddings for part in parts]),
        torch.cat([part.probabilities for part in parts]),
    )


def _inference_error(cause: Exception | None) -> InferenceError:
    error = InferenceError("the model failed on the batch that held this image; try again")
    error.__cause__ = cause
    return error
