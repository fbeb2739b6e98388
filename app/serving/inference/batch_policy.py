"""Decides which batches to form and how long to linger. Pure: no clock, no event loop.

**Size.** A free worker takes a share of all queued images at once: one image under light load, full
batches under heavy load. On a CPU each worker has its own cores, so the share counts the images
that other workers compute: those workers are free soon and would have nothing to do. On a GPU the
free workers take everything that is queued, since larger batches are faster there.

**Linger.** The responses of a batch are sent together, so the next requests arrive together. While
fewer images are in flight than when the last batch started, a batch is held back for more images,
for a fraction of a batch's duration.

**Order.** Images are taken by virtual start time (start-time fair queueing). Virtual time is the
highest virtual start time of the images taken so far. The first image of a request starts at the
virtual time of its arrival and each further one a step later, so a request with many images does
not delay others.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Generic, TypeVar

from app.serving.inference.scoring_model import ScoringModel

# Of a batch's duration: the most that lingering costs; three images that start together gain more.
LINGER_SHARE = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class QueuedImage:
    """An image that waits for the model; compared by identity.

    Attributes:
        model: scores the image; a batch has images of one model.
        virtual_start: images with lower values are taken first.
        queued_at_s: when the wait began, in seconds of the clock that `now_s` comes from.
    """

    model: ScoringModel
    virtual_start: int
    queued_at_s: float


Image = TypeVar("Image", bound=QueuedImage)


@dataclass(frozen=True, slots=True)
class BatchPlan(Generic[Image]):
    """What to do with the queued images.

    Attributes:
        batches: one for each worker to start now; none is empty.
        remaining: the images that stay queued.
        linger_s: if positive, no batch starts now; plan again after this time, or earlier when
            the queue changes.
    """

    batches: list[list[Image]]
    remaining: list[Image]
    linger_s: float = 0.0


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """Forms batches from the queued images.

    Attributes:
        workers: the number of inference workers.
        dedicated_cores: whether each worker has its own CPU cores; False if all share one GPU.
    """

    workers: int
    dedicated_cores: bool

    def plan(
        self,
        queue: list[Image],
        *,
        computing: int,
        free_workers: int,
        last_in_flight: int,
        batch_s: float,
        now_s: float,
    ) -> BatchPlan[Image]:
        """Decide which batches start now.

        Args:
            queue: the queued images, in any order; among equal virtual starts the first is taken
                first.
            computing: images in the batches that are being computed.
            free_workers: workers that compute nothing.
            last_in_flight: images that were queued, computed or decoded when the last batch
                started.
            batch_s: recent duration of a batch, in seconds; with 0 there is no linger.
            now_s: the current time, in seconds.
        """
        if not queue or not free_workers:
            return BatchPlan([], queue)
        if len(queue) + computing < last_in_flight:
            linger_s = self._linger_s(queue, free_workers, batch_s, now_s)
            if linger_s > 0:
                return BatchPlan([], queue, linger_s)
        ordered = sorted(queue, key=attrgetter("virtual_start"))
        # Images of another model are queued only while a new checkpoint replaces the old one.
        model = ordered[0].model
        candidates = [image for image in ordered if image.model is model]
        if self.dedicated_cores:
            share = math.ceil((len(candidates) + computing) / self.workers)
        else:
            share = math.ceil(len(candidates) / free_workers)
        size = min(model.max_batch_size, share)
        taken = candidates[: size * free_workers]
        batches = [taken[start : start + size] for start in range(0, len(taken), size)]
        taken_set = set(taken)
        return BatchPlan(batches, [image for image in ordered if image not in taken_set])

    def _linger_s(
        self, queue: Sequence[QueuedImage], free_workers: int, batch_s: float, now_s: float
    ) -> float:
        """Return how long to wait for more images; 0 or less if the batches should start now."""
        if len(queue) >= queue[0].model.max_batch_size * free_workers:
            return 0.0
        oldest_s = min(image.queued_at_s for image in queue)
        return oldest_s + LINGER_SHARE * batch_s - now_s
