"""Who is next: images of different requests take turns, however many each request has."""

import asyncio
import heapq
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count


class FairSemaphore:
    """A semaphore that lets the lowest turn pass first, and equal ones in the order they came.

    Args:
        free: how many may be inside at a time.
    """

    def __init__(self, free: int) -> None:
        self._free = free  # where it is not 0, nobody waits
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._arrivals = count()

    @asynccontextmanager
    async def slot(self, turn: int) -> AsyncIterator[None]:
        """Be inside, once it is this turn's turn."""
        await self._enter(turn)
        try:
            yield
        finally:
            self._leave()

    async def _enter(self, turn: int) -> None:
        if self._free:
            self._free -= 1
            return
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (turn, next(self._arrivals), admitted))
        try:
            await admitted
        except asyncio.CancelledError:
            if not admitted.cancelled():  # admitted, but its owner had left
                self._leave()
            raise

    def _leave(self) -> None:
        while self._waiting:
            _, _, admitted = heapq.heappop(self._waiting)
            if not admitted.done():
                admitted.set_result(None)
                return
        self._free += 1
