"""Measures start-up: time until the server listens, its memory then, and the cost of its imports.

python -m benchmarks.throughput.start weights/mumic-demo

The first start fills the page cache and is not counted.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from benchmarks.support.processes import memory_mib
from benchmarks.support.serving import mumic_server

STARTS = 5
# Each imports only modules before it. torch._dynamo cannot be avoided: open_clip imports
# torchvision, which imports it.
MODULES = (
    "numpy",
    "torch",
    "torch._dynamo",
    "torchvision",
    "timm",
    "open_clip",
    "fastapi",
    "app.main",
)
IMPORT_SCRIPT = """
import importlib, os, sys, time
from benchmarks.support.processes import memory_mib
for name in sys.argv[1:]:
    started = time.perf_counter()
    importlib.import_module(name)
    print(time.perf_counter() - started, memory_mib(os.getpid()))
"""


def measure_imports() -> list[tuple[float, float]]:
    """Return the import time of each of `MODULES` in seconds, and the memory after it in MiB."""
    command = [sys.executable, "-c", IMPORT_SCRIPT, *MODULES]
    output = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    steps = [tuple(map(float, line.split())) for line in output.splitlines()]
    return [(seconds, memory) for seconds, memory in steps]


def measure_start(checkpoint: Path) -> tuple[float, float]:
    """Return the time until a server listens in seconds, and its memory then in MiB."""
    started = time.perf_counter()
    with mumic_server(checkpoint) as server:
        return time.perf_counter() - started, memory_mib(server.pid)


def main() -> None:
    """Print the medians of all starts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    args = parser.parse_args()
    measure_start(args.checkpoint)
    seconds, memory = zip(*(measure_start(args.checkpoint) for _ in range(STARTS)), strict=True)
    print(
        f"ready after {median(seconds):.1f} s ({min(seconds):.1f}-{max(seconds):.1f}), "
        f"{median(memory):.0f} MiB\n"
    )
    print("| import | s | MiB afterwards |\n|---|---:|---:|")
    runs = [measure_imports() for _ in range(STARTS)]
    for name, *steps in zip(MODULES, *runs, strict=True):
        seconds_each, memory_each = zip(*steps, strict=True)
        print(f"| {name} | {median(seconds_each):.2f} | {median(memory_each):.0f} |")


if __name__ == "__main__":
    main()
