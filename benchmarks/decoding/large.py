"""Measures panoramas and photos with more pixels than the limit, which are read at a smaller scale.

python -m benchmarks.decoding.large

Each file is decoded and resized in a process of its own, in one thread. It is a baseline JPEG of at
most 20 MiB, the default limit of a file.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from PIL import Image

from app.core.images import ImageLimits, Preprocess, load_pixels
from benchmarks.support.photos import mosaic
from benchmarks.support.processes import peak_mib
from tests.support.photos import encoded

ROUNDS = 5
PREPROCESS = Preprocess(224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic")
# Width and height in pixels, and the quality of the JPEG: at 75, 200 million pixels exceed 20 MiB.
FILES = {
    "panorama": (16382, 3628, 85),
    "108 megapixels": (12000, 9000, 75),
    "200 megapixels": (16320, 12240, 40),
}


def measure(path: Path) -> None:
    """Print scale, CPU seconds of the fastest round and growth of the resident memory in MiB."""
    torch.set_num_threads(1)
    data = path.read_bytes()
    load_pixels(encoded(Image.new("RGB", (640, 480)), "JPEG"), ImageLimits(), PREPROCESS)
    before_mib, times = peak_mib(), []
    for _ in range(ROUNDS):
        started = time.process_time()
        source = load_pixels(data, ImageLimits(), PREPROCESS).source
        times.append(time.process_time() - started)
    print(source, min(times), peak_mib() - before_mib)


def main() -> None:
    """Print a row for each photo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", type=Path, help="decode this file in this process")
    args = parser.parse_args()
    if args.file:
        measure(args.file)
        return
    print(
        "| photo | pixels | MiB | decoded as | CPU s | memory, MiB |\n|---|---:|---:|---|---:|---:|"
    )
    for name, (width, height, quality) in FILES.items():
        with TemporaryDirectory() as folder:
            path = Path(folder, "photo.jpg")
            path.write_bytes(encoded(mosaic((width, height), 0), "JPEG", quality=quality))
            command = [sys.executable, "-m", "benchmarks.decoding.large", "--file", str(path)]
            run = subprocess.run(command, capture_output=True, text=True, check=True)
            source, seconds, growth_mib = run.stdout.split()
            file_mib = path.stat().st_size / 2**20
        print(
            f"| {name} | {width * height:,} | {file_mib:.1f} | {source} | {float(seconds):.2f} "
            f"| {float(growth_mib):.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
