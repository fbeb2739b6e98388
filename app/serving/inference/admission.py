"""How many images are accepted and not yet answered, and when there is room again."""

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from app.errors import OverloadedError


class Admission:
    """Bounds the images of all requests together, and measures at what pace they go.

    Args:
        most: images.
        on_change: told how many are accepted.
    """

    def __init__(self, most: int, on_change: Callable[[int], None]) -> None:
        self._most = most
        self._on_change = on_change
        self._in_flight = 0
        self._seconds_per_image = 0.0
        self._idle = asyncio.Event()
        self._idle.set()

    def refuse_when_full(self, images: int = 1) -> None:
        """Tell whoever brings more images than there is room for when to come back.

        Args:
            images: how many more there would be.

        Raises:
            OverloadedError: there is no room for them.
        """
        if self._in_flight + images > self._most:
            raise OverloadedError(
                f"{self._in_flight} images are waiting and at most {self._most} may; "
                "try again later",
                self.retry_after_s(),
            )

    @contextmanager
    def accepted(self, images: int) -> Iterator[None]:
        """A request's images take room within.

        Args:
            images: how many it has.

        Raises:
            OverloadedError: there is no room for them.
        """
        self.refuse_when_full(images)
        began = time.perf_counter()
        self._add(images)
        try:
            yield
        finally:
            self._add(-images)
        self._note_pace(images, time.perf_counter() - began)

    def retry_after_s(self) -> int:
        """When what is accepted now will have been answered, in seconds from now; at least 1."""
        return max(1, math.ceil(self._in_flight * self._seconds_per_image))

    async def wait_until_idle(self) -> None:
        """Wait until all that was accepted is answered."""
        await self._idle.wait()

    def _add(self, images: int) -> None:
        self._in_flight += images
        self._on_change(self._in_flight)
        if self._in_flight == 0:
            self._idle.set()
        else:
            self._idle.clear()

    def _note_pace(self, images: int, seconds: float) -> None:
        # What an image costs while others are in flight too.
        pace = seconds / max(images, self._in_flight + images)
        self._seconds_per_image += 0.1 * (pace - self._seconds_per_image)
