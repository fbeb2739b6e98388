"""The start-up line has addresses that clients can open."""

import re
import socket

import pytest

from app.errors import OptionError
from app.serving.listening import announcement, bind
from app.settings import Settings

MODEL = {"name": "tiny", "version": "1", "device": "cpu", "precision": "fp32"}


def addresses(host: str) -> list[str]:
    """Return the addresses of the start-up line, each after a real connection to it."""
    with bind(host, 0) as bound:
        bound.listen()
        line = announcement(Settings(host=host), bound, MODEL)
        port = bound.getsockname()[1]
        found = re.findall(r"http://(\S+?):(\d+)[,:] ", line)
        assert {each for _, each in found} == {str(port)}
        for name, _ in found:
            socket.create_connection((name.strip("[]"), port), 20).close()
    return [name for name, _ in found]


@pytest.mark.parametrize(
    ("host", "printed"),
    [
        ("127.0.0.1", ["127.0.0.1"]),
        ("localhost", ["localhost"]),
        ("::1", ["[::1]"]),
        ("0.0.0.0", ["0.0.0.0", "127.0.0.1"]),
        ("::", ["[::]", "[::1]"]),
    ],
)
def test_printed_addresses_accept_connections(host: str, printed: list[str]) -> None:
    assert addresses(host) == printed


def test_ipv6_address_in_use_is_named_in_brackets() -> None:
    with bind("::1", 0) as bound:
        bound.listen()
        port = bound.getsockname()[1]
        with pytest.raises(OptionError, match=rf"cannot listen on \[::1\]:{port}: "):
            bind("::1", port)
