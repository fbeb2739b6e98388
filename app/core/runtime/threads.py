"""How many threads compute, and threads that hold nothing up when they do not end.

OpenMP keeps a team of helpers for each thread that has ever computed with more than one. Once there
are more of them than cores, GNU's OpenMP lets none wait actively any more, and every layer of a
model waits for the system to wake them up: on two cores an image took 34 ms in place of 18. So only
the batcher's lanes keep teams; the server's main thread computes alone, and what else needs many
threads does so in one that ends and takes its team with it.
"""

import math
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from threading import Thread
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


class SingleImageThreads:
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
    passing = DaemonThreads(1, "passing", partial(compute_with, threads))
    future = passing.call(function)
    passing.end()
    return future


class DaemonThreads:
    """Threads that take calls in the order they come, and hold no process back at its end.

    At its exit Python waits for every thread of a ThreadPoolExecutor, and so for ever for one that
    is stuck in a model.

    Args:
        most: how many; each of the first calls starts one.
        name: what their names begin with.
        begin: called first in each.
    """

    def __init__(self, most: int, name: str, begin: Callable[[], None] = lambda: None) -> None:
        self._most = most
        self._name = name
        self._begin = begin
        self._started = 0
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def call(self, function: Callable[[], T]) -> Future[T]:
        """Call a function in one of the threads; cancelling keeps a call that waits from it."""
        if self._started < self._most:
            name = f"{self._name}-{self._started}"
            Thread(target=self._work, name=name, daemon=True).start()
            self._started += 1
        future: Future[T] = Future()
        self._calls.put(partial(_call, function, future))
        return future

    def end(self) -> None:
        """Let each thread end after the calls that wait; it is not awaited."""
        for _ in range(self._started):
            self._calls.put(None)

    def _work(self) -> None:
        self._begin()
        for call in iter(self._calls.get, None):
            call()
            del call  # or what it holds would stay until the next


def _call(function: Callable[[], T], future: Future[T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(function())
    except BaseException as error:  # whatever it is, it is for who waits
        future.set_exception(error)
    finally:
        del function, future  # which the error's traceback would hold, and they it
