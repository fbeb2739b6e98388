"""Whether a server's memory grows: resident memory after so many requests, and after many more.

python -m benchmarks.throughput.growth weights/mumic-demo

Single photos of 0.3 MP at concurrency 8; a size of the photos' bytes that never changes would hide
fragmentation, so every fourth is of 3 MP.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.support.load import Clients, requests_of
from benchmarks.support.photos import photos
from benchmarks.support.processes import memory_mib
from benchmarks.systems import serving

CONCURRENCY = 8


def main() -> None:
    """Print both and the growth between them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--first", type=int, default=2_000, help="requests before the first look")
    parser.add_argument("--last", type=int, default=20_000, help="requests before the last look")
    args = parser.parse_args()
    small, large = requests_of(photos(0.3), 1), requests_of(photos(3.0), 1)
    log = Path("runs/growth.log")
    log.parent.mkdir(exist_ok=True)
    with serving("mumic", args.checkpoint, photos(0.3)[0], log) as server:
        clients = Clients(server.port, [*small[1:], large[0]], 1, CONCURRENCY)
        found = []
        try:
            for requests in (args.first, args.last):
                clients.wait(0, requests)
                found.append(memory_mib(server.pid))
                print(f"{requests:6,} requests: {found[-1]:.0f} MiB", flush=True)
        finally:
            clients.stop()
    if clients.errors:
        sys.exit(clients.errors[0])
    print(f"growth: {found[1] / found[0] - 1:.2%}")


if __name__ == "__main__":
    main()
