"""Bytes on a connection of one's own: what no HTTP client would send."""

import re
import socket
from contextlib import suppress

import httpx

PATIENCE_S = 20
HOST = b"host: mumic\r\n"


def spoken(client: httpx.Client, sent: bytes) -> bytes:
    """All that comes back until the server hangs up, or is asked to by a last good request.

    Raises:
        TimeoutError: the server neither answers nor hangs up.
    """
    last = b"GET /healthz HTTP/1.1\r\nhost: mumic\r\nconnection: close\r\n\r\n"
    received = b""
    address = client.base_url.host, client.base_url.port or 0
    with socket.create_connection(address, PATIENCE_S) as connection:
        with suppress(ConnectionError):  # a server may hang up before it has read all
            connection.sendall(sent + last)
        with suppress(ConnectionError):
            while data := connection.recv(2**16):
                received += data
    return received


def statuses(received: bytes) -> list[int]:
    """The status of each answer, in order; one begins where the body before it ends."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]


def head(*headers: bytes, target: bytes = b"POST /predict") -> bytes:
    """A request's head; the body is to follow."""
    lines = b"".join(line + b"\r\n" for line in headers)
    return target + b" HTTP/1.1\r\n" + HOST + lines + b"\r\n"


def answer(connection: socket.socket) -> bytes:
    """One whole answer, head and body, which may come apart; less where the server hangs up."""
    received = b""
    while True:
        head, ended, body = received.partition(b"\r\n\r\n")
        announced = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
        if ended and len(body) >= (int(announced[1]) if announced else 0):
            return received
        data = connection.recv(2**16)
        if not data:
            return received
        received += data
