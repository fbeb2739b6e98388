"""Threads that compute with many others for a moment, and leave none of them behind.

OpenMP keeps a team of helpers for each thread that has ever computed with more than one. Once there
are more of them than cores, GNU's OpenMP lets none wait actively any more, and every layer of a
model waits for the system to wake them up: on two cores an image took 34 ms in place of 18. So only
the batcher's lanes keep teams; the server's main thread computes alone, and what else needs many
threads does so in one that ends and takes its team with it.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")


def compute_with(threads: int) -> None:
    """Set how many threads torch uses in the calling thread, whatever other threads set.

    A thread that torch has not yet asked for its number takes the one that any thread set last,
    when it first computes: so it is asked before.

    Args:
        threads: at least 1.
    """
    torch.get_num_threads()
    torch.set_num_threads(threads)


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
