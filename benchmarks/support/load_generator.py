"""Concurrent connections that send valid requests one after another and count the outcomes."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle

from httptools import HttpParserError

from benchmarks.support.http import TIMEOUT_S, Client, Response, has_labels

OK = "200"
POLL_S = 0.02


class LoadGenerator:
    """Threads that each send one request after another over their own connection.

    A thread ends after the server refused its connection.

    Args:
        port: port of the server on the loopback address.
        requests: cycled through; each thread starts with a different one.
        connections: number of threads.
        is_valid: returns whether a response with status 200 is the expected one.

    Attributes:
        outcomes: number of requests by outcome: `200`, another status with its error code, or the
            name of an exception.
        completed: start and end of each request with outcome `200`, in seconds of the monotonic
            clock.
    """

    def __init__(
        self,
        port: int,
        requests: Sequence[bytes],
        connections: int,
        is_valid: Callable[[Response], bool] = has_labels,
    ) -> None:
        self.outcomes: Counter[str] = Counter()
        self.completed: list[tuple[float, float]] = []
        self._port = port
        self._is_valid = is_valid
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        starts = [number % len(requests) for number in range(connections)]
        self._threads = [
            threading.Thread(target=self._send, args=[[*requests[start:], *requests[:start]]])
            for start in starts
        ]

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Send requests while the context is open; at its end, wait for the last responses."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            for thread in self._threads:
                thread.join()

    def failures(self) -> list[str]:
        """Return the outcomes that are not `200`."""
        with self._lock:
            return [outcome for outcome in self.outcomes if outcome != OK]

    def wait_for_total(self, requests: int, min_seconds: float = 0) -> None:
        """Wait until this many requests completed in all, or one failed.

        Args:
            requests: number of requests with outcome `200`, since the start.
            min_seconds: also wait for this time.
        """
        until = time.monotonic() + min_seconds
        while time.monotonic() < until or len(self.completed) < requests:
            if self.failures():
                break
            time.sleep(POLL_S)

    def wait_for_more(self, requests: int) -> None:
        """Wait until this many more requests completed, at most `TIMEOUT_S`; failures are ignored.

        Args:
            requests: number of requests with outcome `200`.
        """
        target, deadline = len(self.completed) + requests, time.monotonic() + TIMEOUT_S
        while len(self.completed) < target and time.monotonic() < deadline:
            time.sleep(POLL_S)

    def _send(self, requests: Sequence[bytes]) -> None:
        with contextlib.closing(Client(self._port)) as client:
            for request in cycle(requests):
                if self._stopping.is_set():
                    break
                started = time.monotonic()
                try:
                    outcome = self._outcome(client.request(request))
                except (OSError, HttpParserError) as error:
                    client.close()
                    outcome = type(error).__name__
                with self._lock:
                    self.outcomes[outcome] += 1
                    if outcome == OK:
                        self.completed.append((started, time.monotonic()))
                if outcome == ConnectionRefusedError.__name__:
                    break

    def _outcome(self, response: Response) -> str:
        if response.status == 200:
            return OK if self._is_valid(response) else "200 with an unexpected body"
        code = response.body.partition(b'"code":"')[2].partition(b'"')[0].decode()
        return f"{response.status} {code}".strip()
