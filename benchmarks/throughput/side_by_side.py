"""Compares MuMIC with other servers of the same checkpoint, under the same requests.

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

from benchmarks.support.load import LoadResult
from benchmarks.support.photos import SIZES, photos
from benchmarks.support.serving import Server
from benchmarks.systems import SYSTEMS, running
from benchmarks.throughput.ceiling import ceiling_process, mean_of
from benchmarks.throughput.table import Measurement, Workload, machine, table

RANDOM_MODEL = "ViT-B-32-quickgelu"
# More than a server accepts: 64 requests of 32 photos of 12 MP would be 6 GB.
MAX_IN_FLIGHT = 256
COMMON = ("torch", "torchvision", "open-clip-torch", "pillow")


def workloads(sizes: list[float], images: list[int], concurrencies: list[int]) -> list[Workload]:
    """Return every combination with at most `MAX_IN_FLIGHT` images in flight."""
    every = (Workload(*values) for values in product(sizes, images, concurrencies))
    return [load for load in every if load.images * load.concurrency <= MAX_IN_FLIGHT]


def run_client(server: Server, workload: Workload, files: list[Path], seconds: float) -> LoadResult:
    """Measure one workload with a client in its own process."""
    command = [sys.executable, "-m", "benchmarks.support.load", str(server.port), *map(str, files)]
    command += ["--images", str(workload.images)]
    command += ["--concurrency", str(workload.concurrency), "--seconds", str(seconds)]
    command += ["--server-pid", str(server.pid)]
    run = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return LoadResult(**json.loads(run.stdout))


def measure(args: argparse.Namespace, checkpoint: Path, folder: Path) -> Iterator[Measurement]:
    """Yield the measurements of one checkpoint.

    Each repeat runs all systems, so that a slower phase of the machine affects all of them. The
    ceiling of a measurement is the mean of one before and one after it, since the speed of a shared
    machine changes within minutes.
    """
    files: dict[float, list[Path]] = {}
    for size in args.megapixels:
        files[size] = [folder / f"{size:g}-{n}.jpg" for n in range(len(photos(size)))]
        for path, data in zip(files[size], photos(size), strict=True):
            path.write_bytes(data)
    with ExitStack() as stack:
        ceilings = {
            size: stack.enter_context(ceiling_process(checkpoint, size, args.seconds / 2))
            for size in args.megapixels
        }
        for repeat, system in product(range(args.repeats), args.systems):
            log = args.out.with_name(f"{system}.log")
            with running(system, checkpoint, photos(args.megapixels[0])[0], log) as server:
                for workload in workloads(args.megapixels, args.images, args.concurrency):
                    measure_ceiling = ceilings[workload.megapixels]
                    before = measure_ceiling()
                    result = run_client(server, workload, files[workload.megapixels], args.seconds)
                    ceiling = mean_of(before, measure_ceiling())
                    print(f"{system}: {workload}: {result} {ceiling}", file=sys.stderr, flush=True)
                    yield Measurement(checkpoint.name, system, repeat, workload, ceiling, result)


def random_checkpoint(folder: Path) -> Path:
    """Write a checkpoint with random weights, which computes as fast as a trained one."""
    checkpoint = folder / RANDOM_MODEL
    command = [sys.executable, "-m", "app.cli", "import", RANDOM_MODEL, "--random"]
    subprocess.run([*command, "--out", str(checkpoint)], stdout=subprocess.DEVNULL, check=True)
    return checkpoint


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "checkpoints",
        type=Path,
        nargs="*",
        help=f"directories; default: weights/mumic-demo and {RANDOM_MODEL} with random weights",
    )
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--megapixels", nargs="+", type=float, choices=SIZES, default=list(SIZES))
    parser.add_argument("--images", nargs="+", type=int, default=[1, 32], help="per request")
    parser.add_argument("--concurrency", nargs="+", type=int, default=[1, 8, 64])
    parser.add_argument("--seconds", type=float, default=5, help="per workload")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/side_by_side.md"))
    return parser.parse_args()


def main() -> None:
    """Write the table and, as JSON, the measurements; print the table."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # stops the servers too
    args = arguments()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    versions = [*COMMON, *(name for system in args.systems for name in SYSTEMS[system])]
    head = "# Side by side\n\n" + machine(versions)
    measurements: list[Measurement] = []
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = args.checkpoints or [
            Path("weights/mumic-demo"),
            random_checkpoint(Path(folder)),
        ]
        for checkpoint in checkpoints:
            measurements += measure(args, checkpoint, Path(folder))
    text = f"{head}\n\n{table(measurements)}"
    args.out.write_text(text, encoding="utf-8")
    document = {"machine": head, "measurements": [asdict(each) for each in measurements]}
    args.out.with_suffix(".json").write_text(json.dumps(document, indent=1), encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
