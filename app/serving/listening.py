"""What a server listens on, how uvicorn runs it, what it says when it is ready."""

import asyncio
import math
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import uvicorn

from app.errors import OptionError
from app.serving.connection import BoundedConnection
from app.settings import Settings

# Longer than the 60 s of usual load balancers: whoever closes an idle connection first must be
# the client, or a request that is just being sent is lost with it.
KEEP_ALIVE_S = 75


class Port(socket.socket):
    """A bound socket that can be shared with processes.

    A process that it is sent to binds a socket of its own beside it, and the kernel spreads
    connections over those that listen. From one socket that all of them had, the process that
    woke first would take a whole burst of connections.
    """

    def share(self) -> None:
        """Let sockets of the same user be bound beside it; nobody's could before."""
        self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)

    def __reduce__(self) -> tuple[Callable[..., "Port"], tuple[Any, ...]]:
        return _bind_beside, (self.family, self.getsockname())


def bind(host: str, port: int) -> Port:
    """Take a port, or a free one for 0; nothing listens on it yet.

    Raises:
        OptionError: the address is taken or is none of this machine's.
    """
    bound = Port(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise OptionError("port", f"cannot listen on {host}:{port}: {error.strerror}") from error
    return bound


def server_config(
    app: Callable[..., Any], settings: Settings, *, factory: bool = False
) -> uvicorn.Config:
    """How uvicorn runs an app, or what a factory makes."""
    return uvicorn.Config(
        app,
        factory=factory,
        workers=1,
        host=settings.host,
        log_config=None,
        access_log=False,
        http=BoundedConnection,
        ws="none",
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=math.ceil(settings.request_timeout_s),
    )


class Server(uvicorn.Server):
    """uvicorn's server, which loses no request when it stops.

    Args:
        config: how it runs.
        announce: called once it listens.
    """

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None] = lambda: None) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        if self.started:
            self._announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer what has come, that of clients included who wait at the port to be let in.

        From now on each request's state has `stopping`, and so do connections that have been
        accepted but not yet made: each of them closes after its answer.
        """
        self.lifespan.state["stopping"] = True
        waiting = [client for bound in sockets or [] for client in _let_in(bound)]
        for server in self.servers:
            server.close()
        for connection in self.server_state.connections:
            connection.shutdown()
        loop = asyncio.get_running_loop()
        for client in waiting:
            await loop.connect_accepted_socket(self._connection, client)
        await super().shutdown(sockets)

    def _connection(self) -> BoundedConnection:
        return BoundedConnection(self.config, self.server_state, self.lifespan.state)


def announcement(settings: Settings, bound: socket.socket, model: Mapping[str, str]) -> str:
    """The line that says what is served where.

    Args:
        settings: the server's.
        bound: its port.
        model: the labels of the metric `mumic_model_info`.
    """
    return (
        f"MuMIC listens on http://{settings.host}:{bound.getsockname()[1]}: "
        f"checkpoint {model['name']} {model['version']} ({settings.checkpoint}), "
        f"{model['device']} {model['precision']}"
    )


def _bind_beside(family: int, address: tuple[Any, ...]) -> Port:
    bound = Port(family)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.share()
    bound.bind(address)
    return bound


def _let_in(bound: socket.socket) -> Iterator[socket.socket]:
    bound.setblocking(False)
    with suppress(OSError):  # nobody waits any more, or the next one has left
        while True:
            client, _ = bound.accept()
            yield client
