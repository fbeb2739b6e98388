"""Clients of a running server that count every answer, and every request that had none."""

import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from itertools import cycle

from httptools import HttpParserError

from benchmarks.support.load import Answer, receive

HANG_S = 120.0


class Client:
    """One sender of requests, on one connection as long as it lasts."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: socket.socket | None = None

    def ask(self, request: bytes) -> Answer:
        """One request and its one answer.

        Raises:
            OSError: none came within `HANG_S`, or the connection ended without it.
            HttpParserError: what came is not one HTTP answer.
        """
        connection = self._connect()
        # A server may answer and hang up before it has read all: then the answer is still there.
        with contextlib.suppress(ConnectionError):
            connection.sendall(request)
        answer = receive(connection)
        if answer.headers.get(b"connection") == b"close":
            self.leave()
        return answer

    def begin(self, request: bytes) -> None:
        """Send without waiting for an answer."""
        self._connect().sendall(request)

    def leave(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> socket.socket:
        if self._connection is None:
            self._connection = socket.create_connection(("127.0.0.1", self._port), HANG_S)
        return self._connection


def get(port: int, path: str) -> Answer:
    """One answer to a GET."""
    return send(port, "GET", path)


def send(port: int, method: str, path: str, *headers: str) -> Answer:
    """One answer to a request without a body, on a connection of its own."""
    client = Client(port)
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers, "", ""]
    try:
        return client.ask("\r\n".join(lines).encode())
    finally:
        client.leave()


def raw_request(photo: bytes, options: str = "") -> bytes:
    """A request whose body is one photo.

    Args:
        photo: a JPEG file.
        options: as they stand in a query.
    """
    head = (
        f"POST /predict?{options} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: image/jpeg\r\nContent-Length: {len(photo)}\r\n\r\n"
    )
    return head.encode() + photo


class Askers:
    """Threads that send good requests, one after the other, and note what became of each.

    A thread ends where nobody listens any more.

    Args:
        port: where the server listens on this machine.
        requests: what they send, in turns.
        number: of threads, each with a connection of its own.
        check: given an answer's body where it is 200; whether it is right.

    Attributes:
        counts: of what became of the requests.
        times: when each began and ended, of those that were answered as they should.
    """

    def __init__(
        self,
        port: int,
        requests: Sequence[bytes],
        number: int,
        check: Callable[[bytes], bool] = lambda body: b'"labels"' in body,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.times: list[tuple[float, float]] = []
        self._port = port
        self._check = check
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._send, args=[[*requests[n:], *requests[:n]]])
            for n in (number % len(requests) for number in range(number))
        ]

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """Send requests meanwhile; the last answers are waited for."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            for thread in self._threads:
                thread.join()

    def wait_for(self, more: int) -> None:
        """Wait until so many more were answered, or for `HANG_S`."""
        wanted, until = len(self.times) + more, time.monotonic() + HANG_S
        while len(self.times) < wanted and time.monotonic() < until:
            self._stopping.wait(0.02)

    def _send(self, requests: Sequence[bytes]) -> None:
        client = Client(self._port)
        for request in cycle(requests):
            if self._stopping.is_set():
                break
            began = time.monotonic()
            try:
                answer = client.ask(request)
                told = self._judge(answer)
            except (OSError, HttpParserError) as error:
                client.leave()
                told = type(error).__name__
            if told == ConnectionRefusedError.__name__:  # nobody listens any more
                break
            with self._lock:
                self.counts[told] += 1
                if told == "200":
                    self.times.append((began, time.monotonic()))
        client.leave()

    def _judge(self, answer: Answer) -> str:
        if answer.status == HTTPStatus.OK:
            return "200" if self._check(bytes(answer.body)) else "200 that is wrong"
        code = answer.body.partition(b'"code":"')[2].partition(b'"')[0].decode()
        return f"{answer.status} {code}"
