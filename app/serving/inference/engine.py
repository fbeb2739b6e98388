"""From uploads to embeddings: the one path that /predict, /embed and /zero-shot share."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from app.core.classifier import Classifier
from app.core.images import ImageLimits, Pixels, load_pixels
from app.core.model import TEXT_BATCH_SIZE
from app.core.runtime import (
    DaemonThreads,
    choose_inference_workers,
    compute_with,
    device_memory,
    in_passing,
    use_own_stream,
)
from app.errors import DrainingError, ImageError, InferenceError, NotReadyError
from app.serving.inference.admission import Admission
from app.serving.inference.batcher import Batcher
from app.serving.inference.embedding_cache import KnownImage
from app.serving.inference.fair_semaphore import FairSemaphore
from app.serving.inference.served_model import ServedModel, names_of, served
from app.serving.observability import Metrics, Timings
from app.settings import Settings

T = TypeVar("T")
FIRST = -1  # the turn of a check: it asks whether requests are answered, not how many wait
Source = Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class EmbeddedImage:
    """One photo, embedded.

    Attributes:
        embedding: (D,) float32, unit length.
        probabilities: (C,) float32 in [0, 1], of the label set.
        width: the photo's own, in pixels, after EXIF.
        height: likewise.
    """

    embedding: Tensor
    probabilities: Tensor
    width: int
    height: int


class Engine:
    """Decodes in a pool of threads, then batches for the model. One bad image fails alone.

    Args:
        classifier: the checkpoint that answers first.
        settings: limits and sizes.
        metrics: where to count.
        cores: of the CPU that torch may use.
    """

    def __init__(
        self, classifier: Classifier, settings: Settings, metrics: Metrics, cores: int
    ) -> None:
        self._metrics = metrics
        self.served = served(classifier, settings, metrics)
        self._tell_what_is_served()
        self._limits = ImageLimits(settings.max_image_bytes, settings.max_image_pixels)
        self.admission = Admission(settings.max_queued_images, metrics.note_in_flight)
        # They themselves are what uses the cores.
        self._decoders = DaemonThreads(settings.decode_threads, "decode", partial(compute_with, 1))
        # One more than threads, so that none waits for the event loop.
        self._decoding = FairSemaphore(settings.decode_threads + 1)
        self._batcher = Batcher(
            choose_inference_workers(classifier.placement, cores),
            self._note_batch,
            partial(use_own_stream, classifier.placement),
        )
        self._cores = cores
        self._embedding_texts = asyncio.Lock()
        self.draining = False

    def start(self) -> None:
        """Start the batch loop; call it from a running event loop."""
        self._batcher.start()

    async def close(self) -> None:
        """Refuse new work, answer what was accepted, stop every thread that can be stopped."""
        self.draining = True
        await self.admission.wait_until_idle()  # what was accepted may still be in the decoders
        await self._batcher.close()
        self._decoders.end()

    def refuse_when_draining(self) -> None:
        """Take no new work any more once the service is stopping.

        Raises:
            DrainingError: it is.
        """
        if self.draining:
            raise DrainingError

    def serve(self, new: ServedModel) -> None:
        """Answer from a checkpoint; requests that have begun end with the one before."""
        self.served.statistics.retire()
        self.served = new
        self._tell_what_is_served()

    def _tell_what_is_served(self) -> None:
        self._metrics.name_model(**names_of(self.served.classifier))
        self._metrics.note_cache(self.served.cache.size_bytes)
        self.note_device_memory()

    async def embed(
        self, by: ServedModel, sources: Sequence[Source], stages: Sequence[Timings]
    ) -> list[EmbeddedImage | ImageError]:
        """Embed a request's images. Cancelling takes those that wait out of every queue.

        Args:
            by: the checkpoint.
            sources: one function for each image that gives its bytes; called in the pool.
            stages: where to note each image's way; they are told as far as it has come.

        Returns:
            An embedding or the reason why there is none, for each image in its place.

        Raises:
            OverloadedError: the images do not fit into the queue.
            InferenceError: the model failed on a batch that held one of them.
            DrainingError: the service is stopping.
        """
        self.refuse_when_draining()
        with self.admission.accepted(len(sources)):
            started = time.perf_counter()
            for way in stages:
                way.accepted = started
            now = self._batcher.turn
            tasks = [
                asyncio.create_task(self._embed_one(by, source, turn, way))
                for turn, (source, way) in enumerate(zip(sources, stages, strict=True), now)
            ]
            try:
                results = await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                    self._metrics.count_image(_outcome(task))
        for task, way in zip(tasks, stages, strict=True):
            way.outcome = _outcome(task)
        return results

    async def check_golden(self, by: ServedModel, patience_s: float) -> None:
        """See a golden image through decoders and model, and hold its embedding to the card's.

        Args:
            by: the checkpoint.
            patience_s: how long that may take.

        Raises:
            NotReadyError: they do not answer, or not as they should.
            DrainingError: the service is stopping.
        """
        self.refuse_when_draining()
        try:
            async with asyncio.timeout(patience_s):
                async with self._decoding.slot(FIRST):
                    image = await self._in_pool(lambda: by.golden_image)
                scored = await self._batcher.submit(by.check, image, FIRST, Timings())
        except TimeoutError as error:
            raise NotReadyError(
                f"no golden image has come through decoders and model for {patience_s:g} s"
            ) from error
        except InferenceError as error:
            raise NotReadyError("the model failed on a golden image") from error
        if not by.classifier.is_golden(scored.embedding):
            raise NotReadyError("the model gives a golden image another embedding than it should")

    @property
    def longest_batch_s(self) -> float:
        """Seconds since the oldest batch began that has not ended; 0 where none runs."""
        return self._batcher.longest_batch_s

    def note_device_memory(self) -> None:
        """Tell the metrics how much of a GPU's memory is taken now."""
        device = self.served.classifier.placement.device
        self._metrics.note_device_memory(str(device), device_memory(device))

    async def embed_texts(self, by: ServedModel, texts: Sequence[str]) -> Tensor:
        """Embed texts as they are, beside the event loop and the image batches.

        One request's texts at a time. Cancelling ends that after the batch that is being computed.

        Args:
            by: the checkpoint.
            texts: at least one text.

        Returns:
            (N, D) float32 unit rows.

        Raises:
            TextError: a text is empty or longer than the tokenizer's context.
            DrainingError: the service is stopping.
        """
        self.refuse_when_draining()
        started = time.perf_counter()
        starts = range(0, len(texts), TEXT_BATCH_SIZE)
        async with self._embedding_texts:
            hits = by.classifier.count_cached(texts)
            embeddings = torch.cat(
                [await self._embed_batch(by, texts[i : i + TEXT_BATCH_SIZE]) for i in starts]
            )
        seconds = time.perf_counter() - started
        self._metrics.observe_texts(seconds, hits=hits, misses=len(texts) - hits)
        return embeddings

    async def _embed_batch(self, by: ServedModel, texts: Sequence[str]) -> Tensor:
        embed = partial(by.classifier.embed_texts, list(texts))
        rows = asyncio.wrap_future(in_passing(self._cores, embed))
        try:
            return await asyncio.shield(rows)
        except asyncio.CancelledError:
            await asyncio.wait([rows])  # a thread cannot be stopped; the next is to find it gone
            raise

    async def in_decoder(self, function: Callable[[], T]) -> T:
        """Run something slow that is not the model beside the event loop.

        Raises:
            DrainingError: the service is stopping.
        """
        self.refuse_when_draining()
        return await self._in_pool(function)

    async def _in_pool(self, function: Callable[[], T]) -> T:
        return await asyncio.wrap_future(self._decoders.call(function))

    async def _embed_one(
        self, by: ServedModel, source: Source, turn: int, stages: Timings
    ) -> EmbeddedImage | ImageError:
        self._batcher.coming += 1
        try:
            async with self._decoding.slot(turn):
                key, found = await self._in_pool(
                    lambda: self._look_up_or_decode(by, source, stages)
                )
        except ImageError as error:
            return error
        finally:
            self._batcher.coming -= 1
        if isinstance(found, KnownImage):
            return EmbeddedImage(found.embedding, found.probabilities, found.width, found.height)
        self._metrics.observe_decode(found.source, stages.decode_s)
        scored = await self._batcher.submit(by.model, found.values, turn, stages)
        self._metrics.observe_queue(stages.queue_s)
        if key is not None:
            known = KnownImage(scored.embedding, scored.probabilities, found.width, found.height)
            by.cache.put(key, known)
            self._metrics.note_cache(self.served.cache.size_bytes)
        return EmbeddedImage(scored.embedding, scored.probabilities, found.width, found.height)

    def _look_up_or_decode(
        self, by: ServedModel, source: Source, stages: Timings
    ) -> tuple[bytes | None, KnownImage | Pixels]:
        """A photo's key in the cache, if there is one, and what is known of it or its pixels."""
        stages.decode_began = time.perf_counter()
        try:
            data = source()
            key = by.cache.key(data) if by.cache else None
            known = by.cache.get(key) if key else None
            if key:
                self._metrics.count_look_up(hit=known is not None)
            return key, known or load_pixels(data, self._limits, by.classifier.preprocess)
        finally:
            stages.decode_ended = time.perf_counter()

    def _note_batch(self, images: int, seconds: float) -> None:
        self._metrics.observe_batch(images, seconds)
        self.note_device_memory()  # of several processes, only one is asked for /metrics


def _outcome(image: "asyncio.Task[EmbeddedImage | ImageError]") -> str:
    """What became of an accepted image, for the metrics."""
    if not image.done() or image.cancelled():
        return "abandoned"
    if image.exception() is not None:
        return "failed"
    found = image.result()
    return found.code if isinstance(found, ImageError) else "ok"
