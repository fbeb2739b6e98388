"""Admission control: bounds the images in flight and refuses new work while draining."""

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from app.errors import DrainingError, OverloadedError


class Admission:
    """Bounds the images in flight over all requests and measures the throughput.

    Args:
        max_images: most images in flight.
        on_change: called with the number of images in flight.
    """

    def __init__(self, max_images: int, on_change: Callable[[int], None]) -> None:
        self._max_images = max_images
        self._on_change = on_change
        self._in_flight = 0
        self._seconds_per_image = 0.0  # moving average
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
    def admit(self, images: int) -> Iterator[None]:
        """Count a request's images as in flight inside the context.

        Args:
            images: how many images the request has.

        Raises:
            OverloadedError: the limit would be exceeded.
            DrainingError: the service is stopping.
        """
        self.refuse_when_draining()
        self.refuse_when_full(images)
        started_s = time.perf_counter()
        self._add(images)
        try:
            yield
        finally:
            self._add(-images)
        self._observe_pace(images, time.perf_counter() - started_s)

    def retry_after_s(self) -> int:
        """Estimate the seconds until all images in flight are answered; at least 1."""
        return max(1, math.ceil(self._in_flight * self._seconds_per_image))

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

    def _observe_pace(self, images: int, seconds: float) -> None:
        # Seconds per image while other requests are in flight too.
        pace = seconds / max(images, self._in_flight + images)
        self._seconds_per_image += 0.1 * (pace - self._seconds_per_image)
