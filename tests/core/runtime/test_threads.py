"""How many threads compute is each thread's own affair."""

import gc
import threading
import weakref
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch

from app.core.runtime import DaemonThreads, SingleImageThreads, compute_with, in_passing
from app.core.runtime.threads import FIRST_TRY, TRY_OTHER_EVERY
from tests.support.fakes import wait_until


def test_a_thread_keeps_its_number_whatever_others_set_before_it_computes() -> None:
    before = torch.get_num_threads()
    with ThreadPoolExecutor(1, initializer=compute_with, initargs=(1,)) as one:
        one.submit(threading.get_ident).result()
        with ThreadPoolExecutor(1, initializer=compute_with, initargs=(3,)) as other:
            assert other.submit(torch.get_num_threads).result() == 3
        assert one.submit(torch.get_num_threads).result() == 1
    assert torch.get_num_threads() == before


def test_what_computes_in_passing_has_its_threads_and_ends() -> None:
    assert in_passing(2, torch.get_num_threads).result() == 2
    found = in_passing(2, threading.current_thread).result()
    found.join(20)
    assert not found.is_alive()


def given(lone: SingleImageThreads, seconds: dict[int, float], images: int) -> list[int]:
    """The numbers of threads that lone images in a row are given."""
    chosen = []
    for _ in range(images):
        chosen.append(lone.choose())
        lone.note(chosen[-1], seconds[chosen[-1]])
    return chosen


def test_lone_images_get_the_number_of_threads_that_is_faster_now() -> None:
    lone = SingleImageThreads(many=8, few=1)
    quiet, busy = {8: 0.02, 1: 0.05}, {8: 0.5, 1: 0.06}
    assert given(lone, quiet, FIRST_TRY) == [8] * (FIRST_TRY - 1) + [1]
    assert given(lone, quiet, 5 * TRY_OTHER_EVERY).count(1) == 5
    assert given(lone, busy, 3)[-1] == 1
    assert given(lone, busy, 5 * TRY_OTHER_EVERY).count(8) == 5
    assert given(lone, quiet, 6 * TRY_OTHER_EVERY)[-1] == 8


def test_one_number_for_all_is_always_that() -> None:
    assert given(SingleImageThreads(many=4, few=4), {4: 1.0}, 2 * TRY_OTHER_EVERY) == (
        [4] * 2 * TRY_OTHER_EVERY
    )


def test_threads_take_calls_in_turn_and_hold_no_process_back() -> None:
    begun: list[str] = []
    two = DaemonThreads(2, "two", lambda: begun.append(threading.current_thread().name))
    go = threading.Event()
    held = [two.call(partial(go.wait, 20)) for _ in range(2)]
    wait_until(lambda: all(each.running() for each in held))
    left, failing = (two.call(fail) for _ in range(2))
    last = two.call(threading.current_thread)
    assert left.cancel()
    go.set()
    two.end()
    with pytest.raises(ZeroDivisionError):
        failing.result(20)
    assert sorted(begun) == ["two-0", "two-1"]
    thread = last.result(20)
    assert thread.daemon  # Python waits for others at its exit
    thread.join(20)
    assert not thread.is_alive()


def fail() -> None:
    raise ZeroDivisionError


class Held:
    """What a call holds; it has a length and is no iterator."""

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize("function", [len, next])
def test_what_was_called_is_let_go(function: Callable[[Held], object]) -> None:
    one = DaemonThreads(1, "one")
    gc.disable()
    try:
        held = Held()
        gone = weakref.ref(held)
        futures.wait([one.call(partial(function, held))], 20)
        del held
        wait_until(lambda: gone() is None)
    finally:
        gc.enable()
        one.end()
