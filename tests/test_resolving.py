"""Names whose servers are silent hold up neither other names nor the process's end."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence

import pytest

from app.serving.resolving import Resolver
from tests.fakes import until

FOUND = ["192.0.2.1"]
SILENT = """
import asyncio, socket, time
from app.errors import ImageError
from app.serving.fetching import Fetcher
from app.settings import Settings

socket.getaddrinfo = lambda *_, **__: time.sleep(600)
try:
    asyncio.run(Fetcher(Settings(url_timeout_s=0.1)).fetch("https://silent.example/", print))
except ImageError as error:
    print(error.code)
"""


class Silence:
    """Names that have no answer until it is broken, and how many look-ups have met it."""

    def __init__(self) -> None:
        self.broken = threading.Event()
        self.met = 0


def with_silent_names(ask: Callable[[Resolver, Silence], Awaitable[None]]) -> None:
    """Ask a resolver of two places, for which `silent` has no answer."""
    silence = Silence()

    def look_up(host: str, _: int) -> Sequence[str]:
        if host == "silent":
            silence.met += 1
            silence.broken.wait(60)
        if host == "unknown":
            raise OSError("no such name")
        return FOUND

    try:
        asyncio.run(asyncio.wait_for(ask(Resolver(2, look_up), silence), 30))
    finally:
        silence.broken.set()


async def give_up_silent(resolver: Resolver, silence: Silence) -> None:
    """Ask for a silent name, and give it up once a thread looks for it."""
    before = silence.met
    asked = asyncio.ensure_future(resolver("silent", 80))
    await until(lambda: silence.met > before)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked


def test_a_silent_name_takes_one_place_until_it_is_answered() -> None:
    async def ask(resolver: Resolver, silence: Silence) -> None:
        await give_up_silent(resolver, silence)
        assert await resolver("good", 80) == FOUND
        await give_up_silent(resolver, silence)
        with pytest.raises(TimeoutError):  # never more threads than places
            await asyncio.wait_for(resolver("good", 80), 0.05)
        silence.broken.set()
        for _ in range(5):
            assert await resolver("good", 80) == FOUND

    with_silent_names(ask)


def test_a_name_that_is_not_found_gives_its_place_back() -> None:
    async def ask(resolver: Resolver, _: Silence) -> None:
        for port in range(5):
            with pytest.raises(OSError, match="no such name"):
                await resolver("unknown", port)
        assert await resolver("good", 80) == FOUND

    with_silent_names(ask)


def test_a_process_ends_whatever_is_being_looked_up() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SILENT], capture_output=True, text=True, timeout=120, check=True
    )
    assert ended.stdout == "url_failed\n"
