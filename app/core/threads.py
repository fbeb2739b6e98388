"""Threads that compute with many others for a moment, and leave none of them behind.

OpenMP keeps a team of helpers for each thread that has ever computed with more than one. Once there
are more of them than cores, GNU's OpenMP lets none wait actively any more, and every layer of a
model waits for the system to wake them up: on two cores an image took 34 ms in place of 18. So only
the batcher's lanes keep teams; the server's main thread computes alone, and what else needs many
threads does so in one that ends and takes its team with it.
"""

import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")
TRY_OTHER_EVERY = 50  # lone images
FIRST_TRY = 10  # soon, where a neighbour is busy from the start, but not while caches are cold


def compute_with(threads: int) -> None:
    """Set how many threads torch uses in the calling thread, whatever other threads set.

    A thread that torch has not yet asked for its number takes the one that any thread set last,
    when it first computes: so it is asked before.

    Args:
        threads: at least 1.
    """
    torch.get_num_threads()
    torch.set_num_threads(threads)


class LoneThreads:
    """How many threads a lone image gets: many, or few where those have lately been faster.

    Many threads wait for the slowest of them after every layer. Where another process takes one of
    the cores for a moment, that one holds up all, and an image takes several times as long as one
    thread would need for it.

    Args:
        many: what is tried first.
        few: the other.
    """

    def __init__(self, many: int, few: int) -> None:
        self._many, self._few = many, few
        self._seconds = {many: math.inf, few: math.inf}
        self._chosen = 0

    def choose(self) -> int:
        """For the next lone image; now and then the slower number, which may have become faster."""
        self._chosen += 1
        few_are_faster = self._seconds[self._few] < self._seconds[self._many]
        try_other = self._chosen % TRY_OTHER_EVERY == FIRST_TRY
        return self._few if few_are_faster != try_other else self._many

    def note(self, threads: int, seconds: float) -> None:
        """A lone image took so long with so many threads."""
        before = self._seconds[threads]
        self._seconds[threads] = seconds if before == math.inf else (before + seconds) / 2


def in_passing(threads: int, function: Callable[[], T]) -> Future[T]:
    """Start a function in a thread of its own that ends with it.

    Args:
        threads: that torch may use in it.
        function: what to compute.
    """
    passing = ThreadPoolExecutor(1, initializer=compute_with, initargs=(threads,))
    future = passing.submit(function)
    passing.shutdown(wait=False)
    return future
