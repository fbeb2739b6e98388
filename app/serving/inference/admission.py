"""Admission control: bounds the images in flight and refuses new work while draining."""

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from app.errors import DrainingError, OverloadedError
from app.serving.inference.throughput import Throughput


class Admission:
    """Bounds the images in flight over all requests and estimates when they are answered.

    Args:
        max_images: most images in flight.
        on_change: called with the number of images in flight.
        throughput: measures how fast images are processed.
        max_retry_after_s: after this time every request in flight is answered or has timed out.
        clock: returns the time in seconds.
    """

    def __init__(
        self,
        max_images: int,
        on_change: Callable[[int], None],
        throughput: Throughput,
        *,
        max_retry_after_s: float,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._max_images = max_images
        self._on_change = on_change
        self._throughput = throughput
        self._max_retry_after_s = max_retry_after_s
        self._clock = clock
        self._in_flight = 0
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()

    def refuse_when_draining(self) -> None:
        """Refuse new work while the service is stopping.

        Raises:
            DrainingError: the service is stopping.
        """
        if self._draining:
            raise DrainingError

    def refuse_when_full(self, images: int = 1) -> None:
        """Refuse images that exceed the limit.

        Args:
            images: how many images to admit.

        Raises:
            OverloadedError: the limit would be exceeded; has the seconds to wait.
        """
        if self._in_flight + images > self._max_images:
            raise OverloadedError(
                f"{self._in_flight} images are in flight, of at most {self._max_images}; "
                "try again later",
                self.retry_after_s(),
            )

    @contextmanager
    def admit(self, images: int) -> Iterator[Callable[[], None]]:
        """Count a request's images as in flight inside the context.

        Args:
            images: how many images the request has.

        Yields:
            A function to call once for each image that is processed.

        Raises:
            OverloadedError: the limit would be exceeded.
            DrainingError: the service is stopping.
        """
        self.refuse_when_draining()
        self.refuse_when_full(images)
        unfinished = images

        def finish_image() -> None:
            nonlocal unfinished
            unfinished -= 1
            self._throughput.finish(self._clock())

        self._throughput.add(images, self._clock())
        self._add(images)
        try:
            yield finish_image
        finally:
            self._throughput.cancel(unfinished, self._clock())
            self._add(-images)

    def observe_batch(self, images: int, seconds: float) -> None:
        """Observe the duration of one batch in the model."""
        self._throughput.observe_batch(images, seconds)

    def retry_after_s(self) -> int:
        """Estimate the seconds until all images in flight are processed; at least 1."""
        remaining_s = self._throughput.remaining_s(self._clock())
        return math.ceil(max(1.0, min(remaining_s, self._max_retry_after_s)))

    async def drain(self) -> None:
        """Refuse new work from now on and wait until no image is in flight."""
        self._draining = True
        await self._idle.wait()

    def _add(self, images: int) -> None:
        self._in_flight += images
        self._on_change(self._in_flight)
        if self._in_flight == 0:
            self._idle.set()
        else:
            self._idle.clear()
