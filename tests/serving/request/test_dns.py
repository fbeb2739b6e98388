"""Unanswered DNS look-ups delay neither other look-ups nor the process's exit."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence

import pytest

from app.serving.request.dns import Resolver

FOUND = ["192.0.2.1"]
SILENT = """
import asyncio, socket, time
from app.errors import ImageError
from app.serving.request.url_fetcher import Fetcher
from app.settings import Settings

socket.getaddrinfo = lambda *_, **__: time.sleep(600)
try:
    asyncio.run(Fetcher(Settings(url_timeout_s=0.1)).fetch("https://silent.example/", print))
except ImageError as error:
    print(error.code)
"""


def with_silent_names(ask: Callable[[Resolver, threading.Event], Awaitable[None]]) -> None:
    """Use a resolver with two threads whose look-up of `silent` blocks until the event is set."""
    answers = threading.Event()

    def look_up(host: str, _: int) -> Sequence[str]:
        if host == "silent":
            answers.wait(60)
        if host == "unknown":
            raise OSError("no such name")
        return FOUND

    try:
        asyncio.run(asyncio.wait_for(ask(Resolver(2, look_up), answers), 30))
    finally:
        answers.set()


async def give_up(resolver: Resolver, host: str) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(resolver(host, 80), 0.05)


def test_unanswered_lookup_occupies_one_thread() -> None:
    async def ask(resolver: Resolver, answers: threading.Event) -> None:
        await give_up(resolver, "silent")
        assert await resolver("good", 80) == FOUND
        await give_up(resolver, "silent")
        await give_up(resolver, "good")  # both threads are occupied
        answers.set()
        for _ in range(5):
            assert await resolver("good", 80) == FOUND

    with_silent_names(ask)


def test_failed_lookup_frees_its_thread() -> None:
    async def ask(resolver: Resolver, _: threading.Event) -> None:
        for port in range(5):
            with pytest.raises(OSError, match="no such name"):
                await resolver("unknown", port)
        assert await resolver("good", 80) == FOUND

    with_silent_names(ask)


def test_process_exits_during_lookup() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SILENT], capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout == "url_failed\n"
