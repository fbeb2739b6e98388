"""Photos to embeddings: decode threads, embedding cache and batcher."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from app.applications.gallery import Quality, measure_quality
from app.core.images import ImageLimits, Pixels, load_pixels
from app.core.runtime import (
    DaemonThreads,
    InferenceWorkers,
    set_torch_threads,
    use_own_stream,
)
from app.errors import ImageError
from app.serving.inference.admission import Admission
from app.serving.inference.batcher import Batcher, ScoredImage
from app.serving.inference.embedded_image import EmbeddedImage
from app.serving.inference.fair_semaphore import FairSemaphore
from app.serving.inference.served_model import ServedModel, ServedModels
from app.serving.observability import Metrics, Timings
from app.settings import Settings

T = TypeVar("T")
BEFORE_ALL_REQUESTS = -1  # virtual start time of health checks: a long queue must not fail them
Source = Callable[[], bytes]


@dataclass(frozen=True, slots=True, eq=False)
class _Decoded:
    """A photo that was not found in the cache, or without the measure that its request needs.

    Attributes:
        pixels: the decoded photo.
        quality: None if the request does not need it.
        embedded: from the cache, without quality; None if the photo must be embedded.
    """

    pixels: Pixels
    quality: Quality | None
    embedded: EmbeddedImage | None


class ImageEmbedder:
    """Decodes images in threads and embeds them in batches. One bad image fails alone.

    Args:
        models: the checkpoint in use.
        admission: bounds the images in flight.
        settings: limits and sizes.
        metrics: counts images and batches.
        workers: the number of inference workers and the threads of each.
    """

    def __init__(
        self,
        models: ServedModels,
        admission: Admission,
        settings: Settings,
        metrics: Metrics,
        workers: InferenceWorkers,
    ) -> None:
        self._models = models
        self._admission = admission
        self._metrics = metrics.images
        self._limits = ImageLimits(settings.max_image_bytes, settings.max_image_pixels)
        # One torch thread each: the decoders themselves use the cores.
        self._decoders = DaemonThreads(
            settings.decode_threads, "decode", partial(set_torch_threads, 1)
        )
        # One image more than threads, so that no thread waits for the event loop.
        self._decoding = FairSemaphore(settings.decode_threads + 1)
        placement = models.current.classifier.placement
        self._batcher = Batcher(
            workers,
            self._observe_batch,
            partial(use_own_stream, placement),
        )

    def start(self) -> None:
        """Start the batch loop; call it from a running event loop."""
        self._batcher.start()

    async def close(self) -> None:
        """Score the queued images and stop every thread that can be stopped."""
        await self._batcher.close()
        self._decoders.shutdown()

    @property
    def longest_batch_s(self) -> float:
        """Seconds since the oldest running batch started; 0 if none runs."""
        return self._batcher.longest_batch_s

    async def embed(
        self,
        served: ServedModel,
        sources: Sequence[Source],
        timings: Sequence[Timings],
        *,
        with_quality: bool = False,
    ) -> list[EmbeddedImage | ImageError]:
        """Embed a request's images. Cancellation removes the waiting ones from every queue.

        Args:
            served: the checkpoint.
            sources: one function per image that returns its bytes; called in a decode thread.
            timings: one per image; filled in while the images are processed.
            with_quality: whether to measure the quality of the images too.

        Returns:
            An embedding or an error for each image, in the order of the sources.

        Raises:
            OverloadedError: the images exceed the limit of images in flight.
            InferenceError: the model failed on a batch with one of the images.
            DrainingError: the service is stopping.
        """
        with self._admission.admit(len(sources)) as finish_image:
            accepted_s = time.perf_counter()
            for timing in timings:
                timing.accepted = accepted_s

            async def embed_one(
                source: Source, virtual_start: int, timing: Timings
            ) -> EmbeddedImage | ImageError:
                outcome = await self._embed_one(served, source, virtual_start, timing, with_quality)
                finish_image()
                return outcome

            arrival = self._batcher.virtual_time
            tasks = [
                asyncio.create_task(embed_one(source, virtual_start, timing))
                for virtual_start, (source, timing) in enumerate(
                    zip(sources, timings, strict=True), arrival
                )
            ]
            try:
                results = await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                    self._metrics.count_outcome(_outcome(task))
        for task, timing in zip(tasks, timings, strict=True):
            timing.outcome = _outcome(task)
        return results

    async def score_golden_image(self, served: ServedModel) -> ScoredImage:
        """Pass a checkpoint's golden image through decode threads and model, before the queue.

        Args:
            served: the checkpoint.

        Raises:
            InferenceError: the model failed.
            DrainingError: the service is stopping.
        """
        self._admission.refuse_when_draining()
        async with self._decoding.acquire(BEFORE_ALL_REQUESTS):
            pixels = await self._in_decode_thread(lambda: served.golden_image)
        return await self._batcher.submit(
            served.golden_scoring, pixels, BEFORE_ALL_REQUESTS, Timings()
        )

    async def run_in_decode_thread(self, function: Callable[[], T]) -> T:
        """Run a slow function off the event loop.

        Raises:
            DrainingError: the service is stopping.
        """
        self._admission.refuse_when_draining()
        return await self._in_decode_thread(function)

    async def _in_decode_thread(self, function: Callable[[], T]) -> T:
        return await asyncio.wrap_future(self._decoders.submit(function))

    async def _embed_one(
        self,
        served: ServedModel,
        source: Source,
        virtual_start: int,
        timings: Timings,
        with_quality: bool,
    ) -> EmbeddedImage | ImageError:
        self._batcher.expected_images += 1
        try:
            async with self._decoding.acquire(virtual_start):
                key, found = await self._in_decode_thread(
                    lambda: self._look_up_or_decode(served, source, timings, with_quality)
                )
        except ImageError as error:
            return error
        finally:
            self._batcher.expected_images -= 1
        if isinstance(found, EmbeddedImage):
            return found
        pixels, quality, embedded = found.pixels, found.quality, found.embedded
        self._metrics.observe_decode(pixels.source, timings.decode_s)
        if embedded is not None:
            image = replace(embedded, quality=quality)
        else:
            scored = await self._batcher.submit(
                served.scoring, pixels.values, virtual_start, timings
            )
            self._metrics.observe_queue(timings.queue_s)
            image = EmbeddedImage(
                scored.embedding, scored.logits, pixels.width, pixels.height, quality
            )
        if key is not None:
            served.cache.put(key, image)
            self._models.report_cache_size()
        return image

    def _look_up_or_decode(
        self, served: ServedModel, source: Source, timings: Timings, with_quality: bool
    ) -> tuple[bytes | None, EmbeddedImage | _Decoded]:
        """Return the cache key, if the cache is enabled, and the cached or the decoded image."""
        timings.decode_began = time.perf_counter()
        try:
            data = source()
            key = served.cache.key(data) if served.cache else None
            cached = served.cache.get(key) if key else None
            if key:
                self._metrics.count_cache_lookup(hit=cached is not None)
            if cached is not None and (cached.quality is not None or not with_quality):
                return key, cached
            pixels = load_pixels(data, self._limits, served.classifier.preprocess)
            quality = measure_quality(pixels.values) if with_quality else None
            return key, _Decoded(pixels, quality, cached)
        finally:
            timings.decode_ended = time.perf_counter()

    def _observe_batch(self, images: int, seconds: float) -> None:
        self._metrics.observe_batch(images, seconds)
        self._admission.observe_batch(images, seconds)
        self._models.report_device_memory()  # of several processes, a scrape reaches only one


def _outcome(image: "asyncio.Task[EmbeddedImage | ImageError]") -> str:
    """Return the outcome of an accepted image: `ok`, `failed`, `abandoned` or its error code."""
    if not image.done() or image.cancelled():
        return "abandoned"
    if image.exception() is not None:
        return "failed"
    found = image.result()
    return found.code if isinstance(found, ImageError) else "ok"
