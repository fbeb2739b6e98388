"""Names -> addresses, asked for in threads that nobody waits for."""

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

Lookup = Callable[[str, int], Sequence[str]]


def addresses(host: str, port: int) -> list[str]:
    """Every address of a name, by the system's resolver; it may take half a minute.

    Raises:
        OSError: there is none, or nobody answers.
        UnicodeError: it is no name.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class Resolver:
    """Looks names up beside the event loop, so many at a time.

    A look-up cannot be stopped. One that is given up keeps its thread, and its place among so many,
    until the system is done with it; the thread is a daemon and does not hold the process's end. An
    executor's threads, asyncio's or uvloop's, would.

    Args:
        at_once: most look-ups.
        look_up: a host and port -> its addresses.
    """

    def __init__(self, at_once: int, look_up: Lookup = addresses) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._look_up = look_up

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Every address of a name; the errors are those of the look-up."""
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Sequence[str]] = loop.create_future()

        def finish(settle: Callable[[Any], None], outcome: object) -> None:
            self._free.release()
            if not found.done():  # it is, where nobody waits any more
                settle(outcome)

        def run() -> None:
            settle: Callable[[Any], None] = found.set_result
            outcome: object
            try:
                outcome = self._look_up(host, port)
            except Exception as error:
                settle, outcome = found.set_exception, error
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(finish, settle, outcome)

        try:
            threading.Thread(target=run, name="resolver", daemon=True).start()
        except RuntimeError as error:  # the system has no thread more
            self._free.release()
            raise OSError("no thread to look a name up") from error
        return await found
