"""Single photos beside a client that sends requests of 64, back to back.

python -m benchmarks.robustness.fairness weights/mumic-demo

It prints the latency of single photos beside it, and where as many images in flight come as single
photos of as many clients.
"""

import argparse
from pathlib import Path

from benchmarks.support.client import Askers
from benchmarks.support.load import percentile, requests_of
from benchmarks.support.photos import photos
from benchmarks.support.serving import served

CLIENTS = 8
MANY = 64


def row(name: str, askers: Askers) -> str:
    """A line of the table; fails where a request was not answered as it should."""
    if set(askers.counts) != {"200"}:
        raise SystemExit(f"{name}: {dict(askers.counts)}")
    times = [1000 * (ended - began) for began, ended in askers.times]
    shown = " | ".join(f"{percentile(times, percent):.0f}" for percent in (50, 95, 99))
    return f"| {name} | {len(times)} | {shown} |"


def main() -> None:
    """Print a line for each company."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--requests", type=int, default=1000)
    args = parser.parse_args()
    one, many = requests_of(photos(0.3), 1), requests_of(photos(0.3), MANY)
    print("| single photos | requests | p50, ms | p95, ms | p99, ms |\n|---|---:|---:|---:|---:|")
    with served(args.checkpoint) as url:
        port = int(url.rpartition(":")[2])
        alike = Askers(port, one, CLIENTS + MANY)
        with alike.asking():
            alike.wait_for(args.requests)
        print(row(f"of {CLIENTS + MANY} clients", alike), flush=True)
        single, bulk = Askers(port, one, CLIENTS), Askers(port, many, 1)
        with bulk.asking(), single.asking():
            single.wait_for(args.requests)
        print(row(f"of {CLIENTS} clients beside one that sends {MANY} at a time", single))
        print(row(f"(the requests of {MANY})", bulk))


if __name__ == "__main__":
    main()
