"""Thread counts of torch, and daemon threads."""

import gc
import threading
import weakref
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch

from app.core.runtime import DaemonThreads, SingleImageThreads, run_in_new_thread, set_torch_threads
from app.core.runtime.threads import FIRST_PROBE, PROBE_INTERVAL
from tests.support.fakes import wait_until


def test_torch_threads_are_set_per_thread() -> None:
    before = torch.get_num_threads()
    with ThreadPoolExecutor(1, initializer=set_torch_threads, initargs=(1,)) as one:
        one.submit(threading.get_ident).result()
        with ThreadPoolExecutor(1, initializer=set_torch_threads, initargs=(3,)) as other:
            assert other.submit(torch.get_num_threads).result() == 3
        assert one.submit(torch.get_num_threads).result() == 1
    assert torch.get_num_threads() == before


def test_new_thread_has_torch_threads_and_ends() -> None:
    assert run_in_new_thread(2, torch.get_num_threads).result() == 2
    found = run_in_new_thread(2, threading.current_thread).result()
    found.join(20)
    assert not found.is_alive()


def choices(selector: SingleImageThreads, seconds: dict[int, float], images: int) -> list[int]:
    """The number of threads chosen for each of several single images."""
    chosen = []
    for _ in range(images):
        chosen.append(selector.choose())
        selector.record(chosen[-1], seconds[chosen[-1]])
    return chosen


def test_single_images_use_faster_number_of_threads() -> None:
    selector = SingleImageThreads(preferred=8, fallback=1)
    quiet, busy = {8: 0.02, 1: 0.05}, {8: 0.5, 1: 0.06}
    assert choices(selector, quiet, FIRST_PROBE) == [8] * (FIRST_PROBE - 1) + [1]
    assert choices(selector, quiet, 5 * PROBE_INTERVAL).count(1) == 5
    assert choices(selector, busy, 3)[-1] == 1
    assert choices(selector, busy, 5 * PROBE_INTERVAL).count(8) == 5
    assert choices(selector, quiet, 6 * PROBE_INTERVAL)[-1] == 8


def test_equal_numbers_of_threads_give_one_choice() -> None:
    assert choices(SingleImageThreads(preferred=4, fallback=4), {4: 1.0}, 2 * PROBE_INTERVAL) == (
        [4] * 2 * PROBE_INTERVAL
    )


def test_daemon_threads_run_calls_in_order() -> None:
    begun: list[str] = []
    two = DaemonThreads(2, "two", lambda: begun.append(threading.current_thread().name))
    go = threading.Event()
    held = [two.submit(partial(go.wait, 20)) for _ in range(2)]
    wait_until(lambda: all(each.running() for each in held))
    left, failing = (two.submit(fail) for _ in range(2))
    last = two.submit(threading.current_thread)
    assert left.cancel()
    go.set()
    two.shutdown()
    with pytest.raises(ZeroDivisionError):
        failing.result(20)
    assert sorted(begun) == ["two-0", "two-1"]
    thread = last.result(20)
    assert thread.daemon  # Python joins other threads at exit
    thread.join(20)
    assert not thread.is_alive()


def fail() -> None:
    raise ZeroDivisionError


class Held:
    """An argument of a call; it has a length and is not an iterator."""

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize("function", [len, next])
def test_finished_call_releases_its_arguments(function: Callable[[Held], object]) -> None:
    one = DaemonThreads(1, "one")
    gc.disable()
    try:
        held = Held()
        gone = weakref.ref(held)
        futures.wait([one.submit(partial(function, held))], 20)
        del held
        wait_until(lambda: gone() is None)
    finally:
        gc.enable()
        one.shutdown()
