"""Measures `mumic serve` on its default device, by concurrency and images per request.

python -m benchmarks.throughput.served weights/mumic-demo
"""

import argparse
from pathlib import Path

from benchmarks.support.load import measure
from benchmarks.support.photos import SIZES, photos
from benchmarks.support.serving import mumic_server

WORKLOADS = ((1, 1), (1, 8), (1, 64), (32, 1), (32, 8))  # images per request, concurrency


def main() -> None:
    """Print a table; the client runs in this process, the server in its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--megapixels", type=float, choices=SIZES, default=0.3)
    parser.add_argument("--seconds", type=float, default=5, help="per workload")
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    files = photos(args.megapixels)
    options = ["--precision", args.precision, "--workers", str(args.workers)]
    with mumic_server(args.checkpoint, *options) as server:
        print(
            "| images per request | concurrency | images/s | p50, ms | p99, ms "
            "| CPU ms per image | of these, event loop | memory, MiB |"
        )
        print("|---:|---:|---:|---:|---:|---:|---:|---:|")
        for images, concurrency in WORKLOADS:
            result = measure(server.port, files, images, concurrency, args.seconds, server.pid)
            if result.errors:
                raise SystemExit(result.first_error)
            print(
                f"| {images} | {concurrency} | {result.images_per_second:.1f} "
                f"| {result.p50_ms:.1f} | {result.p99_ms:.1f} "
                f"| {1000 * result.cpu_seconds_per_image:.1f} "
                f"| {1000 * result.main_thread_cpu_seconds_per_image:.2f} "
                f"| {result.memory_mib:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
