"""Fuzzes the server's decoding and resizing with damaged image files of every format.

python -m benchmarks.robustness.fuzz --inputs 100000

The inputs are mutations of small files written by Pillow: flipped bits; bytes and ranges that are
replaced, removed, repeated or copied from another file; integers set to extreme values. Each must
give pixels or an ImageError. Another exception, a crash, more than `TIMEOUT_S`, or memory that
grows by more than `MAX_GROWTH_MIB` is a finding, whose input is written to a file. The inputs are
decoded in a child process, which is replaced after each finding.
"""

import argparse
import io
import multiprocessing
import random
import struct
import sys
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from app.core.images import ImageLimits, Preprocess, load_pixels
from app.core.images.formats import SUPPORTED_FORMATS
from app.errors import ImageError
from benchmarks.support.processes import peak_mib
from tests.support.photos import sample

TIMEOUT_S = 10.0
START_TIMEOUT_S = 60.0
MAX_GROWTH_MIB = 1024
SIDE_PX = 48
MODES = {
    "JPEG": ("RGB", "L", "CMYK"),
    "PNG": ("RGB", "RGBA", "L", "LA", "P", "1", "I;16"),
    "WEBP": ("RGB", "RGBA"),
    "GIF": ("P", "L"),
    "BMP": ("RGB", "L", "1"),
    "TIFF": ("RGB", "RGBA", "L", "CMYK", "1", "I;16"),
    "AVIF": ("RGB", "RGBA"),
    "HEIF": ("RGB", "RGBA", "L"),
    "JXL": ("RGB", "RGBA", "L", "I;16"),
}
OPTIONS = {
    "JPEG": (
        {},
        {"progressive": True},
        {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6"},
    ),
    "TIFF": (
        {},
        {"compression": "tiff_lzw"},
        {"compression": "tiff_deflate"},
        {"compression": "jpeg"},
    ),
    "WEBP": ({}, {"lossless": True}),
    "JXL": ({}, {"lossless": True}, {"use_container": True}),
    "HEIF": ({}, {"tile_size": 32}),
    "PNG": ({}, {"optimize": True}),
}
EXTREMES = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
PREPROCESS = Preprocess(64, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic")


def corpus() -> list[bytes]:
    """Return a small file for each format, mode and compression, and some with several frames."""
    photo = sample("chelsea").resize((SIDE_PX, SIDE_PX * 2 // 3))
    files = []
    for name in SUPPORTED_FORMATS:
        for mode in MODES[name]:
            image = photo.convert("L").convert("I;16") if mode == "I;16" else photo.convert(mode)
            for options in OPTIONS.get(name, ({},)):
                file = io.BytesIO()
                try:
                    image.save(file, name, **options)
                except (OSError, ValueError):  # this mode does not support these options
                    continue
                files.append(file.getvalue())
        if name in ("GIF", "PNG", "WEBP", "TIFF"):
            file = io.BytesIO()
            photo.save(file, name, save_all=True, append_images=[photo.rotate(90)])
            files.append(file.getvalue())
    return files


def mutated(files: list[bytes], number: int, seed: int) -> bytes:
    """Return an input, deterministic for a number and a seed.

    Args:
        files: the files to mutate.
        number: number of the input.
        seed: seed of the run.
    """
    rng = random.Random(f"{seed}-{number}")
    data = bytearray(rng.choice(files))
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        _mutate(data, files, rng)
    return bytes(data)


def _mutate(data: bytearray, files: list[bytes], rng: random.Random) -> None:
    if not data:
        return
    # Half of the mutations affect the header, which contains lengths and offsets.
    end = min(len(data), 64) if rng.random() < 0.5 else len(data)
    at = rng.randrange(end)
    size = rng.choice((1, 2, 4, 8, 64, 512))
    match rng.randrange(8):
        case 0:
            data[at] ^= 1 << rng.randrange(8)
        case 1:
            data[at] = rng.randrange(256)
        case 2:
            order, width = rng.choice("<>"), rng.choice("BHI")
            bits = 8 * struct.calcsize(width)
            extreme = rng.choice(EXTREMES) % 2**bits
            data[at : at + bits // 8] = struct.pack(order + width, extreme)
        case 3:
            del data[at : at + size]
        case 4:
            data[at:at] = data[at : at + size] * rng.choice((1, 2, 64))
        case 5:
            data[at : at + size] = rng.randbytes(size)
        case 6:
            other = rng.choice(files)
            start = rng.randrange(len(other))
            data[at : at + size] = other[start : start + size]
        case 7:
            del data[at:]


def _work(inputs: Connection, seed: int) -> None:
    """Decode inputs by number and send back the outcomes; runs in the child process."""
    files = corpus()
    limits = ImageLimits(max_pixels=5_000_000)
    load_pixels(files[0], limits, PREPROCESS)
    start_mib = peak_mib()
    while True:
        number = inputs.recv()
        try:
            pixels = load_pixels(mutated(files, number, seed), limits, PREPROCESS)
            outcome = f"pixels of {pixels.source.partition('/')[0]}"
        except ImageError as error:
            outcome = error.code
        except BaseException as error:
            outcome = f"FINDING {error!r}"
        inputs.send("FINDING memory" if peak_mib() - start_mib > MAX_GROWTH_MIB else outcome)


class _Child:
    """A child process that decodes inputs."""

    def __init__(self, seed: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._inputs, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, seed), daemon=True)
        self._process.start()
        theirs.close()
        self._timeout_s = START_TIMEOUT_S + TIMEOUT_S  # the first input includes the imports

    def outcome(self, number: int) -> str:
        """Decode one input and return its outcome."""
        self._inputs.send(number)
        if not self._inputs.poll(self._timeout_s):
            return f"FINDING no result within {TIMEOUT_S:g} s"
        self._timeout_s = TIMEOUT_S
        try:
            return str(self._inputs.recv())
        except EOFError:
            self._process.join()
            return f"FINDING the process exited with {self._process.exitcode}"

    def kill(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.join()


def outcomes(numbers: range, seed: int) -> Iterator[tuple[int, str]]:
    """Yield each number with the outcome of its input; a finding starts with `FINDING`."""
    child = _Child(seed)
    for number in numbers:
        outcome = child.outcome(number)
        if outcome.startswith("FINDING"):
            child.kill()
            child = _Child(seed)
        yield number, outcome
    child.kill()


def main() -> None:
    """Print the number of inputs by outcome; fail if one is a finding."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--findings", type=Path, default=Path("runs/fuzz"))
    args = parser.parse_args()
    started, counts = time.monotonic(), Counter[str]()
    files = corpus()
    for number, outcome in outcomes(range(args.inputs), args.seed):
        counts[outcome] += 1
        if outcome.startswith("FINDING"):
            args.findings.mkdir(parents=True, exist_ok=True)
            file = args.findings / f"{args.seed}-{number}"
            file.write_bytes(mutated(files, number, args.seed))
            print(f"{file}: {outcome}", file=sys.stderr)
    print(f"{args.inputs} inputs from {len(files)} files in {time.monotonic() - started:.0f} s\n")
    print("| outcome | inputs |\n|---|---:|")
    for outcome, number in counts.most_common():
        print(f"| {outcome} | {number} |")
    if any(outcome.startswith("FINDING") for outcome in counts):
        sys.exit(1)


if __name__ == "__main__":
    main()
