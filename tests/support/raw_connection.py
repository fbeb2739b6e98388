"""Raw bytes on a connection, for requests that HTTP clients cannot send."""

import re
import socket
from contextlib import suppress

import httpx

PATIENCE_S = 20
HOST = b"host: mumic\r\n"


def exchange(client: httpx.Client, sent: bytes) -> bytes:
    """Send bytes and a final good request; return everything until the server closes.

    Raises:
        TimeoutError: the server neither answers nor closes the connection.
    """
    last = b"GET /healthz HTTP/1.1\r\nhost: mumic\r\nconnection: close\r\n\r\n"
    received = b""
    address = client.base_url.host, client.base_url.port or 0
    with socket.create_connection(address, PATIENCE_S) as connection:
        with suppress(ConnectionError):  # the server may close before it has read everything
            connection.sendall(sent + last)
        with suppress(ConnectionError):
            while data := connection.recv(2**16):
                received += data
    return received


def statuses(received: bytes) -> list[int]:
    """Return the status of each response, in order."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]


def head(*headers: bytes, target: bytes = b"POST /predict") -> bytes:
    """Build a request's head, without a body."""
    lines = b"".join(line + b"\r\n" for line in headers)
    return target + b" HTTP/1.1\r\n" + HOST + lines + b"\r\n"


def answer(connection: socket.socket) -> bytes:
    """Read one response with its body, or less if the server closes the connection."""
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
