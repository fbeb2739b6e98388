"""Compares the throughput of two checkouts of MuMIC, measured in alternation.

git worktree add /tmp/before v0.1.0
python -m benchmarks.throughput.versions weights/mumic-demo --before /tmp/before
"""

import argparse
from pathlib import Path
from statistics import median

from benchmarks.support.load import measure
from benchmarks.support.photos import SIZES, photos
from benchmarks.support.serving import mumic_server
from benchmarks.throughput.table import machine

WARM_UP_S = 4.0


def main() -> None:
    """Print each repeat, then the medians with their ranges and the ratio of the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--before", type=Path, required=True, help="the other checkout")
    parser.add_argument("--megapixels", type=float, choices=SIZES, default=0.3)
    parser.add_argument("--images", type=int, default=1, help="per request")
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=10, help="per repeat")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    files = photos(args.megapixels)
    trees = {"before": args.before, "after": Path.cwd()}
    found: dict[str, list[float]] = {name: [] for name in trees}
    print(machine(["torch"]))
    for repeat in range(args.repeats):
        # In alternating order, so that neither profits from a faster phase of the machine.
        for name in sorted(trees, reverse=repeat % 2 == 0):
            with mumic_server(args.checkpoint, source_tree=trees[name]) as server:
                workload = (server.port, files, args.images, args.concurrency)
                measure(*workload, WARM_UP_S, server.pid)
                result = measure(*workload, args.seconds, server.pid)
            if result.errors:
                raise SystemExit(result.first_error)
            found[name].append(result.images_per_second)
            print(
                f"{name}: {result.images_per_second:.1f} images/s, p50 {result.p50_ms:.0f} ms, "
                f"p99 {result.p99_ms:.0f} ms",
                flush=True,
            )
    for name, values in found.items():
        print(f"{name}: median {median(values):.1f} images/s ({min(values):.1f}-{max(values):.1f})")
    print(f"ratio: {median(found['after']) / median(found['before']):.3f}")


if __name__ == "__main__":
    main()
