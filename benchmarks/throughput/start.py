"""What a server costs before its first request: time to readiness, memory, what its imports take.

python -m benchmarks.throughput.start weights/mumic-demo

The disk's cache is warm from the second start on; the first is not counted.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from benchmarks.support.processes import memory_mib
from benchmarks.support.serving import serving_process

STARTS = 5
# In the order in which each needs only what stands before it; the compiler is not ours to leave
# out: torchvision, without which open_clip does not load, imports it.
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
STEPS = """
import importlib, os, sys, time
from benchmarks.support.processes import memory_mib
for name in sys.argv[1:]:
    began = time.perf_counter()
    importlib.import_module(name)
    print(time.perf_counter() - began, memory_mib(os.getpid()))
"""


def imports() -> list[tuple[float, float]]:
    """Seconds that each of `MODULES` takes to import, and the process's MiB after it."""
    command = [sys.executable, "-c", STEPS, *MODULES]
    lines = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    steps = [tuple(map(float, line.split())) for line in lines.splitlines()]
    return [(seconds, memory) for seconds, memory in steps]


def start(checkpoint: Path) -> tuple[float, float]:
    """Seconds from the command to the line that says the server listens, and its MiB then."""
    began = time.perf_counter()
    with serving_process(checkpoint) as (_, pid):
        return time.perf_counter() - began, memory_mib(pid)


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    args = parser.parse_args()
    start(args.checkpoint)
    seconds, memory = zip(*(start(args.checkpoint) for _ in range(STARTS)), strict=True)
    print(
        f"ready after {median(seconds):.1f} s ({min(seconds):.1f}-{max(seconds):.1f}), "
        f"{median(memory):.0f} MiB\n"
    )
    print("| import of | s | MiB afterwards |\n|---|---:|---:|")
    runs = [imports() for _ in range(STARTS)]
    for name, *steps in zip(MODULES, *runs, strict=True):
        took = median(seconds for seconds, _ in steps)
        print(f"| {name} | {took:.2f} | {median(memory for _, memory in steps):.0f} |")


if __name__ == "__main__":
    main()
