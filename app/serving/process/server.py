"""The listening socket, uvicorn's configuration, and a server with graceful shutdown."""

import asyncio
import math
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import uvicorn

from app.errors import OptionError
from app.serving.process.connection import BoundedConnection
from app.settings import Settings

# Longer than the usual 60 s of load balancers. The client must close idle connections first: if the
# server did, it could lose a request that is just being sent.
KEEP_ALIVE_S = 75
# Addresses that mean "all interfaces", with one at which this machine reaches them.
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class Port(socket.socket):
    """A bound socket that worker processes can share.

    A process that unpickles it binds its own socket to the same address (SO_REUSEPORT), and the
    kernel distributes connections over the listening sockets. With one shared socket, the process
    that wakes first would accept a whole burst of connections.
    """

    def share(self) -> None:
        """Allow other sockets of the same user to bind to this address."""
        self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)

    def __reduce__(self) -> tuple[Callable[..., "Port"], tuple[Any, ...]]:
        return _bind_shared, (self.family, self.getsockname())


def bind(host: str, port: int) -> Port:
    """Bind a socket without listening; port 0 selects a free port.

    Raises:
        OptionError: the address is in use or does not belong to this machine.
    """
    bound = Port(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        address = _host_and_port(host, port)
        raise OptionError("port", f"cannot listen on {address}: {error.strerror}") from error
    return bound


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


def announcement(settings: Settings, bound: socket.socket, model: Mapping[str, str]) -> str:
    """Build the line that is printed when the server is ready.

    Args:
        settings: the server's settings.
        bound: its socket.
        model: the labels of the metric `mumic_model_info`.
    """
    port = bound.getsockname()[1]
    addresses = f"http://{_host_and_port(settings.host, port)}"
    if loopback := LOOPBACK.get(settings.host):
        addresses += f", on this machine http://{_host_and_port(loopback, port)}"
    return (
        f"MuMIC listens on {addresses}: "
        f"checkpoint {model['name']} {model['version']} ({settings.checkpoint}), "
        f"{model['device']} {model['precision']}"
    )


def _host_and_port(host: str, port: int) -> str:
    """Write an address as in a URL: IPv6 in brackets (RFC 3986, 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _bind_shared(family: int, address: tuple[Any, ...]) -> Port:
    bound = Port(family)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.share()
    bound.bind(address)
    return bound


def _accept_backlog(bound: socket.socket) -> Iterator[socket.socket]:
    bound.setblocking(False)
    with suppress(OSError):  # the backlog is empty, or its next client has disconnected
        while True:
            client, _ = bound.accept()
            yield client
