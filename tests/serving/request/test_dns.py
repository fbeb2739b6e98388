"""Unanswered DNS look-ups delay neither other look-ups nor the process's exit."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence

import pytest

from app.serving.request.dns import Resolver
from tests.support.fakes import until

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


class SilentServer:
    """A DNS server that answers `silent` only after `answering` is set; counts its look-ups."""

    def __init__(self) -> None:
        self.answering = threading.Event()
        self.lookups = 0


def with_silent_names(use: Callable[[Resolver, SilentServer], Awaitable[None]]) -> None:
    """Use a resolver with two threads, for which look-ups of `silent` block."""
    server = SilentServer()

    def look_up(host: str, _: int) -> Sequence[str]:
        if host == "silent":
            server.lookups += 1
            server.answering.wait(60)
        if host == "unknown":
            raise OSError("no such name")
        return FOUND

    try:
        asyncio.run(asyncio.wait_for(use(Resolver(2, look_up), server), 30))
    finally:
        server.answering.set()


async def cancel_silent(resolver: Resolver, server: SilentServer) -> None:
    """Cancel a look-up of `silent` after a thread has started it."""
    before = server.lookups
    lookup = asyncio.ensure_future(resolver("silent", 80))
    await until(lambda: server.lookups > before)
    lookup.cancel()
    with pytest.raises(asyncio.CancelledError):
        await lookup


def test_unanswered_lookup_occupies_one_thread() -> None:
    async def use(resolver: Resolver, server: SilentServer) -> None:
        await cancel_silent(resolver, server)
        assert await resolver("good", 80) == FOUND
        await cancel_silent(resolver, server)
        with pytest.raises(TimeoutError):  # both threads are occupied
            await asyncio.wait_for(resolver("good", 80), 0.05)
        server.answering.set()
        for _ in range(5):
            assert await resolver("good", 80) == FOUND

    with_silent_names(use)


def test_failed_lookup_frees_its_thread() -> None:
    async def use(resolver: Resolver, _: SilentServer) -> None:
        for port in range(5):
            with pytest.raises(OSError, match="no such name"):
                await resolver("unknown", port)
        assert await resolver("good", 80) == FOUND

    with_silent_names(use)


@pytest.mark.slow
def test_process_exits_during_lookup() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SILENT], capture_output=True, text=True, timeout=120, check=True
    )
    assert ended.stdout == "url_failed\n"
