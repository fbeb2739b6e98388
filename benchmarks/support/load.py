"""Requests to a server's /predict from N connections, each sending as soon as it is answered.

Side by side starts it as a process of its own, so that its work is not taken for the server's:

python -m benchmarks.support.load 8000 PHOTO.jpg... --images 1 --concurrency 8 --server-pid PID

It prints one JSON object. An answer without labels for every image ends the run and is counted
under `errors`: such a run measured nothing.
"""

import argparse
import json
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from itertools import cycle, islice
from pathlib import Path

from httptools import HttpParserError, HttpResponseParser

from benchmarks.support.processes import cpu_seconds, main_thread_cpu_seconds, memory_mib

BOUNDARY = "photos-of-the-benchmark"
TIMEOUT_S = 600


@dataclass(frozen=True, slots=True)
class Load:
    """What one measured window gave.

    Args:
        images_per_second: that the server answered.
        p50_ms: median time from a request's first byte to its answer's last.
        p95_ms: 95th percentile of it.
        p99_ms: 99th percentile of it.
        cpu_seconds_per_image: of the server's whole tree.
        main_thread_cpu_seconds_per_image: of its main threads alone: in MuMIC's case HTTP, parsing,
            queueing and answering, since photos are decoded and embedded in others.
        memory_mib: sum of the tree's PSS at the window's end.
        requests: that began in the window.
        errors: requests that were not answered as they should.
        first_error: what the first of them was.
    """

    images_per_second: float = 0
    p50_ms: float = 0
    p95_ms: float = 0
    p99_ms: float = 0
    cpu_seconds_per_image: float = 0
    main_thread_cpu_seconds_per_image: float = 0
    memory_mib: float = 0
    requests: int = 0
    errors: int = 0
    first_error: str = ""


def multipart(photos: Sequence[bytes]) -> bytes:
    """A multipart/form-data body with a part named `images` for each photo."""
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="images"; filename="photo.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    parts = (head.encode() + photo + b"\r\n" for photo in photos)
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def requests_of(photos: Sequence[bytes], images: int) -> list[bytes]:
    """As many requests as photos, each beginning with another one, as they go over the wire."""
    return [
        _request(multipart(list(islice(cycle(photos), first, first + images))))
        for first in range(len(photos))
    ]


def _request(body: bytes) -> bytes:
    head = (
        "POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Answer:
    """What httptools makes of an answer; http.client would take more of the server's cores.

    Attributes:
        status: the HTTP status.
        headers: by their names in lower case.
        body: its bytes.
    """

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.body = bytearray()
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """One of them."""
        self.headers[name.lower()] = value

    def on_body(self, data: bytes) -> None:
        """A piece of it."""
        self.body += data

    def on_message_complete(self) -> None:
        """It is whole."""
        self.complete = True


def ask(connection: socket.socket, request: bytes, images: int) -> tuple[float, float]:
    """Send one request and check its answer.

    Returns:
        When it was sent and when it was answered, in seconds of the monotonic clock.

    Raises:
        OSError: the connection ended.
        HttpParserError: the answer is not HTTP.
        ValueError: the answer is not 200 with labels for so many images.
    """
    began = time.monotonic()
    connection.sendall(request)
    answer = receive(connection)
    ended = time.monotonic()
    if answer.status != HTTPStatus.OK or answer.body.count(b'"labels"') != images:
        told = f"{answer.status} {answer.body[:200]}"
        raise ValueError(f"labels for {images} images were expected: {told}")
    return began, ended


def receive(connection: socket.socket) -> Answer:
    """Wait for one whole answer.

    Raises:
        OSError: the connection ended.
        HttpParserError: the answer is not HTTP.
    """
    answer = Answer()
    parser = HttpResponseParser(answer)
    while not answer.complete:
        data = connection.recv(2**16)
        if not data:
            raise ConnectionError("the server closed the connection")
        parser.feed_data(data)
    answer.status = parser.get_status_code()
    return answer


def answers(port: int, photo: bytes) -> bool:
    """Whether a server already tags a photo."""
    try:
        with _connect(port) as connection:
            ask(connection, _request(multipart([photo])), 1)
    except (OSError, HttpParserError, ValueError):
        return False
    return True


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least so many percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-len(ordered) * percent // 100) - 1)]


def answered_between(requests: Sequence[tuple[float, float]], begin: float, end: float) -> float:
    """How many requests were answered in a window, those at its edges by their share in it.

    Args:
        requests: when each began and ended, in seconds.
        begin: of the window.
        end: of the window.
    """
    shares = ((min(ended, end) - max(began, begin)) / (ended - began) for began, ended in requests)
    return sum(share for share in shares if share > 0)


class Clients:
    """Threads that each send one request after another over a connection of their own."""

    def __init__(self, port: int, requests: Sequence[bytes], images: int, number: int) -> None:
        self.answered: list[tuple[float, float]] = []
        self.errors: list[str] = []
        self._port = port
        self._images = images
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._send, args=[[*requests[n:], *requests[:n]]])
            for n in (number % len(requests) for number in range(number))
        ]
        for thread in self._threads:
            thread.start()

    def _send(self, requests: Sequence[bytes]) -> None:
        try:
            with _connect(self._port) as connection:
                for request in cycle(requests):
                    if self._stopping.is_set():
                        break
                    self.answered.append(ask(connection, request, self._images))
        except (OSError, HttpParserError, ValueError) as error:
            self.errors.append(repr(error))
            self._stopping.set()

    def wait(self, seconds: float, answers: int) -> float:
        """Wait for so long and for so many answers in all, or for an error; gives the time."""
        until = time.monotonic() + seconds
        while time.monotonic() < until or len(self.answered) < answers:
            if self._stopping.wait(0.02):
                break
        return time.monotonic()

    def stop(self) -> None:
        """Send nothing more, and wait for the last answers."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()


def measure(
    port: int, photos: Sequence[bytes], images: int, concurrency: int, seconds: float, pid: int
) -> Load:
    """Warm the server up, then measure it for a window of time.

    Args:
        port: where the server listens on this machine.
        photos: JPEG files.
        images: in each request.
        concurrency: requests in flight.
        seconds: of the window; it lasts longer where each connection has not yet had an answer
            to a request of the window.
        pid: of the server's first process.
    """
    clients = Clients(port, requests_of(photos, images), images, concurrency)
    try:
        begin = clients.wait(min(2.0, seconds), concurrency)
        cpu, main_cpu = cpu_seconds(pid), main_thread_cpu_seconds(pid)
        # The requests in flight at the window's begin count in part, so as many again must end.
        enough = len(clients.answered) + 2 * concurrency
        end = clients.wait(seconds, enough)
        cpu, main_cpu = cpu_seconds(pid) - cpu, main_thread_cpu_seconds(pid) - main_cpu
        memory = memory_mib(pid)  # not before: the system takes a while to add it up
    finally:
        clients.stop()
    if clients.errors:
        return Load(errors=len(clients.errors), first_error=clients.errors[0])
    done = images * answered_between(clients.answered, begin, end)
    times = [1000 * (e - b) for b, e in clients.answered if begin <= b < end]
    return Load(
        images_per_second=done / (end - begin),
        p50_ms=percentile(times, 50),
        p95_ms=percentile(times, 95),
        p99_ms=percentile(times, 99),
        cpu_seconds_per_image=cpu / done,
        main_thread_cpu_seconds_per_image=main_cpu / done,
        memory_mib=memory,
        requests=len(times),
    )


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--images", type=int, default=1)
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--server-pid", type=int, required=True)
    args = parser.parse_args()
    photos = [path.read_bytes() for path in args.photos]
    load = measure(args.port, photos, args.images, args.concurrency, args.seconds, args.server_pid)
    print(json.dumps(asdict(load)))


if __name__ == "__main__":
    main()
