"""Measures zero-shot requests with cached labels while another client sends 1,000 new texts.

python -m benchmarks.robustness.text_fairness weights/mumic-demo

Each request of the other client goes to POST /embed with texts that were never sent before.
"""

import argparse
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

from benchmarks.robustness.fairness import table_row
from benchmarks.support.http import json_request
from benchmarks.support.load_generator import LoadGenerator
from benchmarks.support.photos import photos
from benchmarks.support.serving import mumic_server
from benchmarks.throughput.table import machine

LABELS = ("temple", "swimming pool", "cat", "coffee")
NEW_TEXTS = 1000  # the default of MUMIC_MAX_ZERO_SHOT_LABELS
COLD_REQUESTS = 200  # more than are sent while the others are measured


def cold_requests() -> Iterator[bytes]:
    """Return requests with `NEW_TEXTS` texts each, none of which is in another request."""
    for request in range(COLD_REQUESTS):
        texts = [f"a photo with object {request}-{number}" for number in range(NEW_TEXTS)]
        yield json_request("/embed", texts=texts, encoding="base64")


def main() -> None:
    """Print a row for each kind of request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--requests", type=int, default=30, help="with cached labels, per run")
    parser.add_argument("--before", type=Path, help="measure this checkout instead")
    args = parser.parse_args()
    images = [{"data": b64encode(photo).decode()} for photo in photos(0.3)]
    cached_requests = [
        json_request("/zero-shot", images=[image], labels=LABELS) for image in images
    ]
    print(machine(["torch"]))
    print("| requests | number | p50, ms | p95, ms | p99, ms |\n|---|---:|---:|---:|---:|")
    with mumic_server(args.checkpoint, source_tree=args.before) as server:
        alone = LoadGenerator(server.port, cached_requests, 1, lambda _: True)
        with alone.running():
            alone.wait_for_more(args.requests)
        print(table_row("cached labels, alone", alone), flush=True)
        cached = LoadGenerator(server.port, cached_requests, 1, lambda _: True)
        cold = LoadGenerator(server.port, list(cold_requests()), 1, lambda _: True)
        with cold.running(), cached.running():
            cached.wait_for_more(args.requests)
        print(table_row("cached labels, concurrent with the next", cached))
        print(table_row(f"{NEW_TEXTS:,} new texts per request", cold))


if __name__ == "__main__":
    main()
