"""Thread counts of torch, and daemon threads that never block the exit of the process.

OpenMP keeps a thread team for each thread that has ever run a parallel region. As soon as all teams
together have more threads than there are cores, GNU OpenMP stops busy-waiting, and each layer of a
model waits for the kernel to wake its threads: on two cores an image took 34 ms instead of 18 ms.
Therefore only inference workers keep teams. The server's main thread computes with one thread, and
other parallel work runs in a new thread, whose team ends with it.
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
PROBE_INTERVAL = 50  # single images
FIRST_PROBE = 10  # early, in case a core is busy from the start, but after caches are warm


def set_torch_threads(threads: int) -> None:
    """Set the number of threads that torch uses in the calling thread.

    A new thread takes the number that any thread set last, at its first use of torch. Reading the
    number first counts as that use, so that later calls in other threads have no effect here.

    Args:
        threads: at least 1.
    """
    torch.get_num_threads()
    torch.set_num_threads(threads)


class SingleImageThreads:
    """Chooses the number of threads for a batch of one image, from measured times.

    Parallel layers wait for their slowest thread. If another process uses one of the cores, an
    image can take several times as long with all threads as with one.

    Args:
        preferred: the number of threads to start with.
        fallback: the number of threads to use while it is faster.
    """

    def __init__(self, preferred: int, fallback: int) -> None:
        self._preferred, self._fallback = preferred, fallback
        self._seconds = {preferred: math.inf, fallback: math.inf}
        self._chosen = 0

    def choose(self) -> int:
        """Return the faster number of threads; every `PROBE_INTERVAL` images, the other one."""
        self._chosen += 1
        fallback_is_faster = self._seconds[self._fallback] < self._seconds[self._preferred]
        probe = self._chosen % PROBE_INTERVAL == FIRST_PROBE
        return self._fallback if fallback_is_faster != probe else self._preferred

    def record(self, threads: int, seconds: float) -> None:
        """Record the inference time of one image with a number of threads."""
        before = self._seconds[threads]
        self._seconds[threads] = seconds if before == math.inf else (before + seconds) / 2


def run_in_new_thread(threads: int, function: Callable[[], T]) -> Future[T]:
    """Run a function in a new thread that ends with it.

    Args:
        threads: the number of threads that torch may use in the function.
        function: the function to run.
    """
    pool = DaemonThreads(1, "once", partial(set_torch_threads, threads))
    future = pool.submit(function)
    pool.shutdown()
    return future


class DaemonThreads:
    """A pool of daemon threads that run functions in the order of submission.

    Unlike ThreadPoolExecutor, whose threads Python joins at exit, a thread that is stuck in a model
    call does not prevent the process from exiting.

    Args:
        max_threads: maximum number of threads; each of the first calls starts one.
        name: prefix of the thread names.
        initializer: called first in each thread.
    """

    def __init__(
        self, max_threads: int, name: str, initializer: Callable[[], None] = lambda: None
    ) -> None:
        self._max_threads = max_threads
        self._name = name
        self._initializer = initializer
        self._started = 0
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def submit(self, function: Callable[[], T]) -> Future[T]:
        """Run a function in one of the threads; a queued call can be cancelled."""
        if self._started < self._max_threads:
            name = f"{self._name}-{self._started}"
            Thread(target=self._work, name=name, daemon=True).start()
            self._started += 1
        future: Future[T] = Future()
        self._calls.put(partial(_call, function, future))
        return future

    def shutdown(self) -> None:
        """End the threads after all queued calls, without waiting for them."""
        for _ in range(self._started):
            self._calls.put(None)

    def _work(self) -> None:
        self._initializer()
        for call in iter(self._calls.get, None):
            call()
            del call  # otherwise its arguments would stay alive until the next call


def _call(function: Callable[[], T], future: Future[T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(function())
    except BaseException as error:  # the caller of future.result() handles every error
        future.set_exception(error)
    finally:
        del function, future  # breaks a reference cycle through the traceback of the error
