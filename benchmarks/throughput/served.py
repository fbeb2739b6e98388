"""What `mumic serve` does on the device that it chooses, by requests in flight and their size.

python -m benchmarks.throughput.served weights/mumic-demo
"""

import argparse
from pathlib import Path

from benchmarks.support.load import measure
from benchmarks.support.photos import SIZES, photos
from benchmarks.support.serving import serving_process

CELLS = ((1, 1), (1, 8), (1, 64), (32, 1), (32, 8))  # images a request, concurrency


def main() -> None:
    """Print a table; the client runs in this process, the server in its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--megapixels", type=float, choices=SIZES, default=0.3)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    files = photos(args.megapixels)
    options = ["--precision", args.precision, "--workers", str(args.workers)]
    with serving_process(args.checkpoint, *options) as (url, pid):
        port = int(url.rpartition(":")[2])
        print(
            "| images a request | concurrency | images/s | p50, ms | p99, ms "
            "| CPU ms an image | of them the event loop's | memory, MiB |"
        )
        print("|---:|---:|---:|---:|---:|---:|---:|---:|")
        for images, concurrency in CELLS:
            load = measure(port, files, images, concurrency, args.seconds, pid)
            if load.errors:
                raise SystemExit(load.first_error)
            print(
                f"| {images} | {concurrency} | {load.images_per_second:.1f} | {load.p50_ms:.1f} "
                f"| {load.p99_ms:.1f} | {1000 * load.cpu_seconds_per_image:.1f} "
                f"| {1000 * load.main_thread_cpu_seconds_per_image:.2f} "
                f"| {load.memory_mib:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
