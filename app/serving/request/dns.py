"""DNS look-ups in daemon threads."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from functools import partial

from app.core.runtime import DaemonThreads

Lookup = Callable[[str, int], Sequence[str]]


def addresses(host: str, port: int) -> list[str]:
    """Return every address of a host from the system's resolver; this may take 30 s.

    Raises:
        OSError: the host has no address, or no name server answers.
        UnicodeError: the host is not a valid name.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class Resolver:
    """Looks up hosts off the event loop, with bounded concurrency.

    A look-up cannot be cancelled: an abandoned one occupies its thread until the system returns.
    The threads are daemons, since those of asyncio and uvloop would delay the process's exit.

    Args:
        max_concurrent: maximum concurrent look-ups.
        look_up: returns the addresses of a host and port.
    """

    def __init__(self, max_concurrent: int, look_up: Lookup = addresses) -> None:
        self._threads = DaemonThreads(max_concurrent, "resolver")
        self._look_up = look_up

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Return every address of a host; raises like the look-up."""
        try:
            found = self._threads.submit(partial(self._look_up, host, port))
        except RuntimeError as error:
            raise OSError("the system cannot start a thread for a DNS look-up") from error
        return await asyncio.wrap_future(found)
