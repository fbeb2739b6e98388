"""The listening socket of the server, and the line that is printed once it listens."""

import socket
from collections.abc import Callable, Mapping
from typing import Any

from app.errors import OptionError
from app.settings import Settings

__all__ = ["Port", "announcement", "bind"]

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


def announcement(settings: Settings, bound: socket.socket, model: Mapping[str, str]) -> str:
    """Build the line that is printed when the server is ready.

    Args:
        settings: the server's settings.
        bound: its socket.
        model: the labels of the metric `mumic_model_info`.
    """
    port = bound.getsockname()[1]
    local = addresses = f"http://{_host_and_port(settings.host, port)}"
    if loopback := LOOPBACK.get(settings.host):
        local = f"http://{_host_and_port(loopback, port)}"
        addresses += f", on this machine {local}"
    workers = f", {settings.workers} workers" if settings.workers > 1 else ""
    page = f". Open {local}/ in a browser to try it" if settings.serves_page else ""
    return (
        f"MuMIC listens on {addresses}: "
        f"checkpoint {model['name']} {model['version']} ({settings.checkpoint}), "
        f"{model['device']} {model['precision']}{workers}{page}"
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
