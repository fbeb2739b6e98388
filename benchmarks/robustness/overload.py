"""More requests than the server can answer, some hostile, some from clients that leave.

python -m benchmarks.robustness.overload weights/mumic-demo

Every good request that is refused with 429 comes back after Retry-After, until it is answered. It
prints what became of all of them, the pace of good answers against the pace without overload, and
memory after warm-up and at the end. It fails where a request had no answer or a wrong one.
"""

import argparse
import os
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
from benchmarks.support.client import Client, get
from benchmarks.support.load import measure, requests_of
from benchmarks.support.photos import photos
from benchmarks.support.processes import memory_mib
from benchmarks.support.serving import serving_process

SEED = 20
QUEUE = 128  # images, below the clients' number: or nobody would be refused
# Of the requests, before memory is first read: it is highest when every decoder has one of the
# largest photos while every lane computes a full batch, and that takes a while to happen.
WARM_UP = 0.2
LEAVING = 0.05  # of good requests' senders
HOSTILE = 0.10


class Crowd:
    """Clients that share out so many requests."""

    def __init__(self, port: int, requests: int, clients: int) -> None:
        self.counts: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        self.good_at: list[float] = []
        self._port = port
        self._requests = requests
        self._numbers = count()
        self._good = requests_of(photos(0.3), 1)
        self._hostile = hostile_requests(photos(0.3)[0])
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._work) for _ in range(clients)]

    def run(self) -> float:
        """Send all; gives the seconds that it took."""
        began = time.monotonic()
        for thread in self._threads:
            thread.start()
        for thread in self._threads:
            thread.join()
        return time.monotonic() - began

    def _work(self) -> None:
        client = Client(self._port)
        while (number := next(self._numbers)) < self._requests:
            chance = random.Random(SEED * 10**9 + number)
            try:
                self._one(client, number, chance)
            except (OSError, HttpParserError) as error:
                self._count(self.wrong, f"no answer: {error!r}")
                client.leave()
        client.leave()

    def _one(self, client: Client, number: int, chance: random.Random) -> None:
        kind = chance.random()
        if kind < HOSTILE:
            hostile = self._hostile[number % len(self._hostile)]
            status = client.ask(hostile.content).status
            allowed = (*hostile.statuses, HTTPStatus.TOO_MANY_REQUESTS)
            counts = self.counts if status in allowed else self.wrong
            self._count(counts, f"hostile: {hostile.name}: {status}")
            return
        request = self._good[number % len(self._good)]
        if kind < HOSTILE + LEAVING:
            client.begin(request[: chance.randrange(len(request))] if number % 2 else request)
            time.sleep(chance.random() / 2)
            client.leave()
            self._count(self.counts, "left before the answer")
            return
        refused = 0
        while True:
            answer = client.ask(request)
            status = answer.status
            if status != HTTPStatus.TOO_MANY_REQUESTS:
                break
            refused += 1
            client.leave()  # an idle connection may end
            time.sleep(float(answer.headers[b"retry-after"]) * (1 + chance.random() / 4))
        right = status == HTTPStatus.OK and answer.body.count(b'"labels"') == 1
        self._count(self.counts if right else self.wrong, f"good: {status}")
        if right:
            with self._lock:
                self.good_at.append(time.monotonic())
                self.counts["refused with 429 first"] += refused > 0
                self.counts["refusals"] += refused

    def _count(self, counts: Counter[str], what: str) -> None:
        with self._lock:
            counts[what] += 1


def main() -> None:
    """Print what became of the requests; fail where one had no answer, or a wrong one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--concurrency", type=int, default=256)
    args = parser.parse_args()
    os.environ["MUMIC_MAX_QUEUED_IMAGES"] = str(QUEUE)
    with serving_process(args.checkpoint) as (url, pid):
        port = int(url.rpartition(":")[2])
        plain = measure(port, photos(0.3), 1, 64, 15, pid)
        if plain.errors:
            sys.exit(plain.first_error)
        Crowd(port, int(args.requests * WARM_UP), args.concurrency).run()
        warm = memory_mib(pid)
        crowd = Crowd(port, args.requests, args.concurrency)
        seconds = crowd.run()
        # Without the end, when ever fewer are left.
        middle = crowd.good_at[len(crowd.good_at) // 20 : -len(crowd.good_at) // 20]
        pace = (len(middle) - 1) / (middle[-1] - middle[0])
        again = measure(port, photos(0.3), 1, 64, 15, pid)
        time.sleep(2)
        metrics = get(port, "/metrics").body.decode()
        print(f"{args.requests} requests of {args.concurrency} clients in {seconds:.0f} s\n")
        print("| what became of them | requests |\n|---|---:|")
        for what, times in sorted(crowd.counts.items()):
            print(f"| {what} | {times} |")
        for what, times in sorted(crowd.wrong.items()):
            print(f"| WRONG: {what} | {times} |")
        without = (plain.images_per_second + again.images_per_second) / 2
        print(f"\ngood answers: {pace:.1f} a second, {pace / without:.2f} of {without:.1f} without")
        print(f"memory: {warm:.0f} MiB warm, {memory_mib(pid):.0f} MiB at the end")
        told = re.findall(r"^mumic_\w+_in_flight .*", metrics, re.MULTILINE)
        print("\n".join(told))
    if crowd.wrong:
        sys.exit(1)


if __name__ == "__main__":
    main()
