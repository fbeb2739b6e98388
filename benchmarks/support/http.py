"""A minimal HTTP/1.1 client over sockets, and the /predict requests of the benchmarks.

The client shares the machine with the server: httptools parses responses with less CPU time than
`http.client` or httpx.
"""

import contextlib
import json
import socket
from collections.abc import Sequence
from itertools import cycle, islice

from httptools import HttpResponseParser

BOUNDARY = "photos-of-the-benchmark"
TIMEOUT_S = 120.0


class Response:
    """An HTTP response, filled by httptools' callbacks.

    Attributes:
        status: HTTP status.
        headers: by lower-case name.
        body: the bytes received so far.
        complete: whether the whole response was received.
    """

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.body = bytearray()
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a header."""
        self.headers[name.lower()] = value

    def on_body(self, data: bytes) -> None:
        """Append a chunk of the body."""
        self.body += data

    def on_message_complete(self) -> None:
        """Mark the response as complete."""
        self.complete = True


class Client:
    """Sends requests over one connection, which is reopened after the server closed it.

    Args:
        port: port of the server on the loopback address.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: socket.socket | None = None

    def request(self, content: bytes) -> Response:
        """Send a request and receive its response.

        Args:
            content: the whole request, head and body.

        Raises:
            OSError: no response within `TIMEOUT_S`, or the connection ended before it.
            HttpParserError: the response is not HTTP.
        """
        connection = self._connect()
        # A server may respond and close the connection before it has read the whole request:
        # the response can still be received.
        with contextlib.suppress(ConnectionError):
            connection.sendall(content)
        response = _receive(connection)
        if response.headers.get(b"connection") == b"close":
            self.close()
        return response

    def send(self, content: bytes) -> None:
        """Send bytes without receiving a response."""
        self._connect().sendall(content)

    def close(self) -> None:
        """Close the connection; the next request opens a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> socket.socket:
        if self._connection is None:
            self._connection = socket.create_connection(("127.0.0.1", self._port), TIMEOUT_S)
        return self._connection


def _receive(connection: socket.socket) -> Response:
    response = Response()
    parser = HttpResponseParser(response)
    while not response.complete:
        data = connection.recv(2**16)
        if not data:
            raise ConnectionError("the server closed the connection")
        parser.feed_data(data)
    response.status = parser.get_status_code()
    return response


def request_once(port: int, content: bytes) -> Response:
    """Send one request over its own connection.

    Raises:
        OSError: no response within `TIMEOUT_S`, or the connection ended before it.
        HttpParserError: the response is not HTTP.
    """
    with contextlib.closing(Client(port)) as client:
        return client.request(content)


def bodiless_request(method: str, path: str, *headers: str) -> bytes:
    """Return a request without a body.

    Args:
        method: HTTP method.
        path: path and query.
        headers: further header lines.
    """
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers, "", ""]
    return "\r\n".join(lines).encode()


def predict_request(content_type: str, body: bytes, headers: str = "", query: str = "") -> bytes:
    """Return a request to POST /predict.

    Args:
        content_type: of the body.
        body: of the request.
        headers: further header lines, each with its CRLF.
        query: query string without the question mark.
    """
    head = (
        f"POST /predict?{query} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {content_type}\r\n"
        f"{headers}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def jpeg_request(photo: bytes, query: str = "") -> bytes:
    """Return a request whose body is one JPEG photo.

    Args:
        photo: a JPEG file.
        query: query string without the question mark.
    """
    return predict_request("image/jpeg", photo, query=query)


def json_request(path: str, **members: object) -> bytes:
    """Return a POST request whose body is a JSON object."""
    body = json.dumps(members).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def multipart(photos: Sequence[bytes]) -> bytes:
    """Return a multipart/form-data body with a field `images` for each JPEG photo."""
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="images"; filename="photo.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    fields = (head.encode() + photo + b"\r\n" for photo in photos)
    return b"".join(fields) + f"--{BOUNDARY}--\r\n".encode()


def multipart_requests(photos: Sequence[bytes], images: int) -> list[bytes]:
    """Return one multipart request per photo, each starting with a different photo.

    Args:
        photos: JPEG files.
        images: photos per request.
    """
    content_type = f"multipart/form-data; boundary={BOUNDARY}"
    return [
        predict_request(content_type, multipart(list(islice(cycle(photos), first, first + images))))
        for first in range(len(photos))
    ]


def has_labels(response: Response, images: int = 1) -> bool:
    """Return whether a response is a 200 with labels for each image."""
    return response.status == 200 and response.body.count(b'"labels"') == images
