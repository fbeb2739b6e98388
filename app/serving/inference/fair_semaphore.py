"""A semaphore with start-time fair queueing, so that large requests do not delay small ones."""

import asyncio
import heapq
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count


class FairSemaphore:
    """Admits the waiter with the lowest virtual start time first; equal ones in order of arrival.

    Args:
        value: how many holders there may be concurrently.
    """

    def __init__(self, value: int) -> None:
        self._value = value  # free permits; if positive, there are no waiters
        self._waiters: list[tuple[int, int, asyncio.Future[None]]] = []  # a heap
        self._arrivals = count()

    @asynccontextmanager
    async def acquire(self, virtual_start: int) -> AsyncIterator[None]:
        """Hold the semaphore inside the context."""
        await self._acquire(virtual_start)
        try:
            yield
        finally:
            self._release()

    async def _acquire(self, virtual_start: int) -> None:
        if self._value:
            self._value -= 1
            return
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiters, (virtual_start, next(self._arrivals), admitted))
        try:
            await admitted
        except asyncio.CancelledError:
            if not admitted.cancelled():  # admitted, but its task was cancelled before it ran
                self._release()
            raise

    def _release(self) -> None:
        while self._waiters:
            _, _, admitted = heapq.heappop(self._waiters)
            if not admitted.done():
                admitted.set_result(None)
                return
        self._value += 1
