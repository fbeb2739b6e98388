"""Measures the memory growth of `mumic serve` between two numbers of requests.

python -m benchmarks.throughput.growth weights/mumic-demo

Single photos at concurrency 8. Most have 0.3 MP, every fourth 3 MP: photos of one size would hide
fragmentation.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.support.http import multipart_requests
from benchmarks.support.load_generator import LoadGenerator
from benchmarks.support.photos import photos
from benchmarks.support.processes import memory_mib
from benchmarks.systems import running

CONCURRENCY = 8


def main() -> None:
    """Print the memory after each number of requests, and the growth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument(
        "--first", type=int, default=2_000, help="requests before the first reading"
    )
    parser.add_argument("--last", type=int, default=20_000, help="requests before the last reading")
    args = parser.parse_args()
    small, large = multipart_requests(photos(0.3), 1), multipart_requests(photos(3.0), 1)
    log = Path("runs/growth.log")
    log.parent.mkdir(exist_ok=True)
    readings: list[float] = []
    with running("mumic", args.checkpoint, photos(0.3)[0], log) as server:
        load = LoadGenerator(server.port, [*small[1:], large[0]], CONCURRENCY)
        with load.running():
            for requests in (args.first, args.last):
                load.wait_for_total(requests)
                readings.append(memory_mib(server.pid))
                print(f"{requests:6,} requests: {readings[-1]:.0f} MiB", flush=True)
    if failures := load.failures():
        sys.exit(failures[0])
    print(f"growth: {readings[1] / readings[0] - 1:.2%}")


if __name__ == "__main__":
    main()
