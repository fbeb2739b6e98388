"""MuMIC and other ways to serve the same checkpoint, under the same requests.

python -m benchmarks.throughput.side_by_side
python -m benchmarks.throughput.side_by_side weights/mumic-demo --systems mumic litserve --seconds 3
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from itertools import product
from pathlib import Path

from benchmarks.support.load import Load
from benchmarks.support.photos import SIZES, photos
from benchmarks.systems import SYSTEMS, Server, serving
from benchmarks.throughput.ceiling import ceilings, mean_of
from benchmarks.throughput.table import Cell, Measured, machine, table

RANDOM = "ViT-B-32-quickgelu"
# 64 requests of 32 photos of 12 MP are 6 GB on their way: nobody sends that.
MOST_IN_FLIGHT = 256
COMMON = ("torch", "torchvision", "open-clip-torch", "pillow")


def cells(sizes: list[float], images: list[int], concurrencies: list[int]) -> list[Cell]:
    """Every combination with at most `MOST_IN_FLIGHT` images in flight."""
    every = (Cell(*values) for values in product(sizes, images, concurrencies))
    return [cell for cell in every if cell.images * cell.concurrency <= MOST_IN_FLIGHT]


def measured_load(server: Server, cell: Cell, files: list[Path], seconds: float) -> Load:
    """One cell, by a client that is a process of its own."""
    command = [sys.executable, "-m", "benchmarks.support.load", str(server.port), *map(str, files)]
    command += ["--images", str(cell.images), "--concurrency", str(cell.concurrency)]
    command += ["--seconds", str(seconds), "--server-pid", str(server.pid)]
    run = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return Load(**json.loads(run.stdout))


def measure(args: argparse.Namespace, checkpoint: Path, folder: Path) -> Iterator[Measured]:
    """All cells of one checkpoint, the systems in turn in each repeat: a drift meets them all.

    The ceiling is measured before and after each cell, and the cell's is the mean: a machine that
    others share is a different one some minutes later.
    """
    files: dict[float, list[Path]] = {}
    for size in args.megapixels:
        files[size] = [folder / f"{size:g}-{n}.jpg" for n in range(len(photos(size)))]
        for path, data in zip(files[size], photos(size), strict=True):
            path.write_bytes(data)
    with ExitStack() as stack:
        ceiling = {
            size: stack.enter_context(ceilings(checkpoint, size, args.seconds / 2))
            for size in args.megapixels
        }
        for repeat, system in product(range(args.repeats), args.systems):
            log = args.out.with_name(f"{system}.log")
            with serving(system, checkpoint, photos(args.megapixels[0])[0], log) as server:
                for cell in cells(args.megapixels, args.images, args.concurrency):
                    before = ceiling[cell.megapixels]()
                    load = measured_load(server, cell, files[cell.megapixels], args.seconds)
                    beside = mean_of(before, ceiling[cell.megapixels]())
                    print(f"{system}: {cell}: {load} {beside}", file=sys.stderr, flush=True)
                    yield Measured(checkpoint.name, system, repeat, cell, beside, load)


def with_random_weights(folder: Path) -> Path:
    """A checkpoint of CLIP's own architecture, as fast or slow as a trained one."""
    checkpoint = folder / RANDOM
    command = [sys.executable, "-m", "app.cli", "import", RANDOM, "--random"]
    subprocess.run([*command, "--out", str(checkpoint)], stdout=subprocess.DEVNULL, check=True)
    return checkpoint


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "checkpoints",
        type=Path,
        nargs="*",
        help=f"directories; default: weights/mumic-demo and {RANDOM} with random weights",
    )
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--megapixels", nargs="+", type=float, choices=SIZES, default=list(SIZES))
    parser.add_argument("--images", nargs="+", type=int, default=[1, 32], help="in a request")
    parser.add_argument("--concurrency", nargs="+", type=int, default=[1, 8, 64])
    parser.add_argument("--seconds", type=float, default=5, help="of each cell")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/side_by_side.md"))
    return parser.parse_args()


def main() -> None:
    """Write and print the table; the measurements lie beside it as JSON."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers are ended too
    args = options()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    versions = [*COMMON, *(name for system in args.systems for name in SYSTEMS[system])]
    head = "# Side by side\n\n" + machine(versions)
    rows: list[Measured] = []
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = args.checkpoints or [
            Path("weights/mumic-demo"),
            with_random_weights(Path(folder)),
        ]
        for checkpoint in checkpoints:
            rows += measure(args, checkpoint, Path(folder))
    text = f"{head}\n\n{table(rows)}"
    args.out.write_text(text, encoding="utf-8")
    whole = {"machine": head, "measured": [asdict(row) for row in rows]}
    args.out.with_suffix(".json").write_text(json.dumps(whole, indent=1), encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
