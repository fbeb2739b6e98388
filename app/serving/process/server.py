"""uvicorn's configuration, and a server with graceful shutdown."""

import asyncio
import math
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import uvicorn

from app.serving.process.connection import BoundedConnection
from app.settings import Settings

# Longer than the usual 60 s of load balancers. The client must close idle connections first: if the
# server did, it could lose a request that is just being sent.
KEEP_ALIVE_S = 75


def server_config(
    app: Callable[..., Any], settings: Settings, *, factory: bool = False
) -> uvicorn.Config:
    """Build uvicorn's configuration for an app, or for a factory that returns one."""
    return uvicorn.Config(
        app,
        factory=factory,
        workers=1,
        host=settings.host,
        log_config=None,
        access_log=False,
        http=BoundedConnection,
        ws="none",
        # Otherwise a request may inherit the span of an earlier one on its connection.
        reset_contextvars=True,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=math.ceil(settings.request_timeout_s),
    )


class Server(uvicorn.Server):
    """uvicorn's server with a shutdown that answers every request sent before the signal.

    Args:
        config: uvicorn's configuration.
        announce: called when the server listens.
    """

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None] = lambda: None) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening."""
        await super().startup(sockets)
        if self.started:
            self._announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening and answer open requests, including those in the accept backlog.

        The state of each later request has `stopping`. Connections read it as well: one that was
        accepted before, but whose `connection_made` is called later, closes after its response.
        """
        self.lifespan.state["stopping"] = True
        waiting = [client for bound in sockets or [] for client in _accept_backlog(bound)]
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


def _accept_backlog(bound: socket.socket) -> Iterator[socket.socket]:
    bound.setblocking(False)
    with suppress(OSError):  # the backlog is empty, or its next client has disconnected
        while True:
            client, _ = bound.accept()
            yield client
