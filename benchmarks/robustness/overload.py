"""Sends more requests than the server can process, some malformed, some cancelled by the client.

python -m benchmarks.robustness.overload weights/mumic-demo

A valid request that is refused with 429 is sent again after Retry-After, until it is accepted. It
prints the number of requests by outcome, the throughput of valid requests with and without
overload, and the memory after the warm-up and at the end. It fails if a request has no response or
an unexpected one.
"""

import argparse
import contextlib
import random
import re
import sys
import threading
import time
from collections import Counter
from http import HTTPStatus
from itertools import count
from pathlib import Path

from httptools import HttpParserError

from benchmarks.robustness.hostile import hostile_requests
from benchmarks.support.http import (
    Client,
    bodiless_request,
    has_labels,
    multipart_requests,
    request_once,
)
from benchmarks.support.load import measure
from benchmarks.support.photos import photos
from benchmarks.support.processes import memory_mib
from benchmarks.support.serving import mumic_server

SEED = 20
MAX_QUEUED_IMAGES = 128  # fewer than the clients, so that some requests are refused
# Share of the requests before the first reading of memory. Memory is highest when every decoding
# thread has one of the largest photos while every inference worker computes a full batch, which
# takes a while to happen.
WARM_UP_SHARE = 0.2
CANCELLED_SHARE = 0.05
HOSTILE_SHARE = 0.10
BASELINE_CONCURRENCY = 64
BASELINE_S = 15


class Overload:
    """Clients in threads that share a number of requests.

    Args:
        port: port of the server on the loopback address.
        requests: number of requests.
        clients: number of threads.

    Attributes:
        expected: number of requests by expected outcome.
        unexpected: number of requests by unexpected outcome.
        completed_at: time of each response to a valid request, in seconds of the monotonic clock.
    """

    def __init__(self, port: int, requests: int, clients: int) -> None:
        self.expected: Counter[str] = Counter()
        self.unexpected: Counter[str] = Counter()
        self.completed_at: list[float] = []
        self._port = port
        self._requests = requests
        self._numbers = count()
        self._valid = multipart_requests(photos(0.3), 1)
        self._hostile = hostile_requests(photos(0.3)[0])
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run_client) for _ in range(clients)]

    def run(self) -> float:
        """Send all requests; return the duration in seconds."""
        started = time.monotonic()
        for thread in self._threads:
            thread.start()
        for thread in self._threads:
            thread.join()
        return time.monotonic() - started

    def throughput(self) -> float:
        """Return the valid requests per second, without the first and the last twentieth."""
        twentieth = len(self.completed_at) // 20
        middle = self.completed_at[twentieth : len(self.completed_at) - twentieth]
        return (len(middle) - 1) / (middle[-1] - middle[0])

    def _run_client(self) -> None:
        with contextlib.closing(Client(self._port)) as client:
            while (number := next(self._numbers)) < self._requests:
                rng = random.Random(SEED * 10**9 + number)
                try:
                    self._send(client, number, rng)
                except (OSError, HttpParserError) as error:
                    self._count(self.unexpected, f"no response: {error!r}")
                    client.close()

    def _send(self, client: Client, number: int, rng: random.Random) -> None:
        kind = rng.random()
        request = self._valid[number % len(self._valid)]
        if kind < HOSTILE_SHARE:
            self._send_hostile(client, number)
        elif kind < HOSTILE_SHARE + CANCELLED_SHARE:
            client.send(request[: rng.randrange(len(request))] if number % 2 else request)
            time.sleep(rng.random() / 2)
            client.close()
            self._count(self.expected, "cancelled by the client")
        else:
            self._send_until_accepted(client, request, rng)

    def _send_hostile(self, client: Client, number: int) -> None:
        hostile = self._hostile[number % len(self._hostile)]
        status = client.request(hostile.content).status
        allowed = (*hostile.statuses, HTTPStatus.TOO_MANY_REQUESTS)
        counts = self.expected if status in allowed else self.unexpected
        self._count(counts, f"hostile: {hostile.name}: {status}")

    def _send_until_accepted(self, client: Client, request: bytes, rng: random.Random) -> None:
        refusals = 0
        while (response := client.request(request)).status == HTTPStatus.TOO_MANY_REQUESTS:
            refusals += 1
            client.close()  # the server may close an idle connection
            time.sleep(float(response.headers[b"retry-after"]) * (1 + rng.random() / 4))
        if not has_labels(response):
            self._count(self.unexpected, f"valid: {response.status}")
            return
        with self._lock:
            self.completed_at.append(time.monotonic())
            self.expected["valid: 200"] += 1
            self.expected["valid, refused with 429 first"] += refusals > 0
            self.expected["responses 429 to valid requests"] += refusals

    def _count(self, counts: Counter[str], outcome: str) -> None:
        with self._lock:
            counts[outcome] += 1


def baseline(port: int, pid: int) -> float:
    """Return the images per second without overload.

    Args:
        port: port of the server.
        pid: root of the server's process tree.

    Raises:
        SystemExit: a request failed.
    """
    result = measure(port, photos(0.3), 1, BASELINE_CONCURRENCY, BASELINE_S, pid)
    if result.errors:
        sys.exit(result.first_error)
    return result.images_per_second


def main() -> None:
    """Print the outcomes; fail if a request has no response or an unexpected one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--concurrency", type=int, default=256, help="number of clients")
    args = parser.parse_args()
    limits = {"MUMIC_MAX_QUEUED_IMAGES": str(MAX_QUEUED_IMAGES)}
    with mumic_server(args.checkpoint, environment=limits) as server:
        before = baseline(server.port, server.pid)
        Overload(server.port, int(args.requests * WARM_UP_SHARE), args.concurrency).run()
        warm_mib = memory_mib(server.pid)
        overload = Overload(server.port, args.requests, args.concurrency)
        seconds = overload.run()
        without = (before + baseline(server.port, server.pid)) / 2
        time.sleep(2)
        metrics = request_once(server.port, bodiless_request("GET", "/metrics")).body.decode()
        end_mib = memory_mib(server.pid)
    print(f"{args.requests} requests of {args.concurrency} clients in {seconds:.0f} s\n")
    print("| outcome | requests |\n|---|---:|")
    for outcome, number in sorted(overload.expected.items()):
        print(f"| {outcome} | {number} |")
    for outcome, number in sorted(overload.unexpected.items()):
        print(f"| UNEXPECTED: {outcome} | {number} |")
    throughput = overload.throughput()
    print(
        f"\nvalid requests: {throughput:.1f} per second, "
        f"{throughput / without:.2f} of {without:.1f} without overload"
    )
    print(f"memory: {warm_mib:.0f} MiB after the warm-up, {end_mib:.0f} MiB at the end")
    print("\n".join(re.findall(r"^mumic_\w+_in_flight .*", metrics, re.MULTILINE)))
    if overload.unexpected:
        sys.exit(1)


if __name__ == "__main__":
    main()
