"""Measures throughput and latency of a server's /predict at a fixed concurrency.

The side-by-side benchmark runs it as a separate process, so that the client's CPU time is not
counted as the server's:

python -m benchmarks.support.load 8000 PHOTO.jpg... --images 1 --concurrency 8 --server-pid PID

It prints one JSON object. A response without labels for every image ends the measurement, which
then has only `errors` and `first_error`.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from benchmarks.support.http import has_labels, multipart_requests
from benchmarks.support.load_generator import LoadGenerator
from benchmarks.support.processes import cpu_seconds, main_thread_cpu_seconds, memory_mib

WARM_UP_S = 2.0


@dataclass(frozen=True, slots=True)
class LoadResult:
    """Results of one measured window.

    Args:
        images_per_second: images of completed requests.
        p50_ms: median time from a request's first byte to its response's last byte.
        p95_ms: 95th percentile of it.
        p99_ms: 99th percentile of it.
        cpu_seconds_per_image: CPU time of the server's process tree.
        main_thread_cpu_seconds_per_image: CPU time of the tree's main threads. For MuMIC, these
            run the event loop: HTTP, parsing, queueing and responses.
        memory_mib: PSS of the tree at the end of the window.
        requests: completed requests that started in the window.
        errors: requests that failed.
        first_error: outcome of the first of them.
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


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least `percent` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-len(ordered) * percent // 100) - 1)]


def completed_between(requests: Sequence[tuple[float, float]], start: float, end: float) -> float:
    """Return the number of requests in a window; one at its edge counts in proportion.

    Args:
        requests: start and end of each, in seconds.
        start: of the window.
        end: of the window.
    """
    shares = (
        (min(ended, end) - max(started, start)) / (ended - started) for started, ended in requests
    )
    return sum(share for share in shares if share > 0)


def measure(
    port: int, photos: Sequence[bytes], images: int, concurrency: int, seconds: float, pid: int
) -> LoadResult:
    """Warm the server up, then measure it for a window of time.

    Args:
        port: port of the server on the loopback address.
        photos: JPEG files.
        images: photos per request.
        concurrency: requests in flight.
        seconds: duration of the window; it is extended until each connection can have completed a
            request that started in it.
        pid: root of the server's process tree.
    """
    load = LoadGenerator(
        port, multipart_requests(photos, images), concurrency, partial(has_labels, images=images)
    )
    with load.running():
        load.wait_for_total(concurrency, min_seconds=min(WARM_UP_S, seconds))
        start = time.monotonic()
        cpu, main_cpu = cpu_seconds(pid), main_thread_cpu_seconds(pid)
        # The requests in flight at the start of the window count only in part: wait for as many
        # again.
        load.wait_for_total(len(load.completed) + 2 * concurrency, min_seconds=seconds)
        end = time.monotonic()
        cpu, main_cpu = cpu_seconds(pid) - cpu, main_thread_cpu_seconds(pid) - main_cpu
        memory = memory_mib(pid)  # last, since the kernel takes long to add it up
    if failures := load.failures():
        return LoadResult(
            errors=sum(load.outcomes[outcome] for outcome in failures), first_error=failures[0]
        )
    done = images * completed_between(load.completed, start, end)
    latencies_ms = [1000 * (e - s) for s, e in load.completed if start <= s < end]
    return LoadResult(
        images_per_second=done / (end - start),
        p50_ms=percentile(latencies_ms, 50),
        p95_ms=percentile(latencies_ms, 95),
        p99_ms=percentile(latencies_ms, 99),
        cpu_seconds_per_image=cpu / done,
        main_thread_cpu_seconds_per_image=main_cpu / done,
        memory_mib=memory,
        requests=len(latencies_ms),
    )


def main() -> None:
    """Print the measured results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--images", type=int, default=1, help="per request")
    parser.add_argument("--concurrency", type=int, default=1, help="requests in flight")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--server-pid", type=int, required=True)
    args = parser.parse_args()
    photos = [path.read_bytes() for path in args.photos]
    result = measure(
        args.port, photos, args.images, args.concurrency, args.seconds, args.server_pid
    )
    print(json.dumps(asdict(result)))


if __name__ == "__main__":
    main()
