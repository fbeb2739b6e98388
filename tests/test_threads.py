"""How many threads compute is each thread's own affair."""

import threading
from concurrent.futures import ThreadPoolExecutor

import torch

from app.core.threads import compute_with, in_passing


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
