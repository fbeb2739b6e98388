"""Measures the latency of single photos while another client sends requests of 64 photos.

python -m benchmarks.robustness.fairness weights/mumic-demo

For comparison, it measures the same number of images in flight as single photos of 72 clients.
"""

import argparse
from pathlib import Path

from benchmarks.support.http import has_labels, multipart_requests
from benchmarks.support.load import percentile
from benchmarks.support.load_generator import OK, LoadGenerator
from benchmarks.support.photos import photos
from benchmarks.support.serving import mumic_server

SINGLE_CLIENTS = 8
BULK_IMAGES = 64


def table_row(name: str, load: LoadGenerator) -> str:
    """Return a row of the table.

    Raises:
        SystemExit: a request failed.
    """
    if set(load.outcomes) != {OK}:
        raise SystemExit(f"{name}: {dict(load.outcomes)}")
    latencies_ms = [1000 * (end - start) for start, end in load.completed]
    percentiles = " | ".join(f"{percentile(latencies_ms, p):.0f}" for p in (50, 95, 99))
    return f"| {name} | {len(latencies_ms)} | {percentiles} |"


def main() -> None:
    """Print a row for each group of clients."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--requests", type=int, default=1000, help="of single photos, per run")
    args = parser.parse_args()
    single_requests = multipart_requests(photos(0.3), 1)
    bulk_requests = multipart_requests(photos(0.3), BULK_IMAGES)
    print("| clients | requests | p50, ms | p95, ms | p99, ms |\n|---|---:|---:|---:|---:|")
    with mumic_server(args.checkpoint) as server:
        equal = LoadGenerator(server.port, single_requests, SINGLE_CLIENTS + BULK_IMAGES)
        with equal.running():
            equal.wait_for_more(args.requests)
        print(table_row(f"{SINGLE_CLIENTS + BULK_IMAGES} with single photos", equal), flush=True)
        single = LoadGenerator(server.port, single_requests, SINGLE_CLIENTS)
        bulk = LoadGenerator(
            server.port, bulk_requests, 1, lambda response: has_labels(response, BULK_IMAGES)
        )
        with bulk.running(), single.running():
            single.wait_for_more(args.requests)
        print(table_row(f"{SINGLE_CLIENTS} with single photos, concurrent with the next", single))
        print(table_row(f"1 with {BULK_IMAGES} photos per request", bulk))


if __name__ == "__main__":
    main()
