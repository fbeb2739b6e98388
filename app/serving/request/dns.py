"""Names -> addresses, asked for in threads that nobody waits for."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from functools import partial

from app.core.runtime import DaemonThreads

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

    A look-up cannot be stopped. One that is given up keeps its thread until the system is done with
    it; asyncio's or uvloop's own threads would hold the process's end as well.

    Args:
        at_once: most look-ups.
        look_up: a host and port -> its addresses.
    """

    def __init__(self, at_once: int, look_up: Lookup = addresses) -> None:
        self._threads = DaemonThreads(at_once, "resolver")
        self._look_up = look_up

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Every address of a name; the errors are those of the look-up."""
        try:
            found = self._threads.call(partial(self._look_up, host, port))
        except RuntimeError as error:
            raise OSError("the system has no thread more to look a name up") from error
        return await asyncio.wrap_future(found)
