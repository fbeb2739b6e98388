"""Damaged image files of every format, one after the other, through the server's image path.

python -m benchmarks.robustness.fuzz --inputs 100000

Mutations of small files that Pillow wrote: bits flipped, bytes and whole ranges replaced, removed,
doubled or taken from another file, lengths set to their extremes. Each gives pixels or an
ImageError; anything else, a crash, an input that takes longer than `HANG_S` or memory beyond
`MOST_MIB` is a finding, whose input is kept. The inputs run in a child process, which survives none
of these; a new one goes on behind the finding.
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

HANG_S = 10.0
MOST_MIB = 1024
SIDE_PX = 48
MODES = {
    "JPEG": ("RGB", "L", "CMYK"),
    "PNG": ("RGB", "RGBA", "L", "LA", "P", "1", "I;16"),
    "WEBP": ("RGB", "RGBA"),
    "GIF": ("P", "L"),
    "BMP": ("RGB", "L", "1"),
    "TIFF": ("RGB", "RGBA", "L", "CMYK", "1", "I;16"),
    "AVIF": ("RGB", "RGBA"),
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
    "PNG": ({}, {"optimize": True}),
}
EXTREMES = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
PREPROCESS = Preprocess(64, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic")


def corpus() -> list[bytes]:
    """A small file of every format, mode and way of compression, one of several frames each."""
    photo = sample("chelsea").resize((SIDE_PX, SIDE_PX * 2 // 3))
    files = []
    for name in SUPPORTED_FORMATS:
        for mode in MODES[name]:
            image = photo.convert("L").convert("I;16") if mode == "I;16" else photo.convert(mode)
            for options in OPTIONS.get(name, ({},)):
                file = io.BytesIO()
                try:
                    image.save(file, name, **options)
                except (OSError, ValueError):  # no such way for this mode
                    continue
                files.append(file.getvalue())
        if name in ("GIF", "PNG", "WEBP", "TIFF"):
            file = io.BytesIO()
            photo.save(file, name, save_all=True, append_images=[photo.rotate(90)])
            files.append(file.getvalue())
    return files


def mutated(files: list[bytes], number: int, seed: int) -> bytes:
    """The input of that number, the same on every run."""
    chance = random.Random(f"{seed}-{number}")
    data = bytearray(chance.choice(files))
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        _mutate(data, files, chance)
    return bytes(data)


def _mutate(data: bytearray, files: list[bytes], chance: random.Random) -> None:
    if not data:
        return
    # Headers, where the lengths are, as often as all the rest.
    end = min(len(data), 64) if chance.random() < 0.5 else len(data)
    at = chance.randrange(end)
    size = chance.choice((1, 2, 4, 8, 64, 512))
    match chance.randrange(8):
        case 0:
            data[at] ^= 1 << chance.randrange(8)
        case 1:
            data[at] = chance.randrange(256)
        case 2:
            order, width = chance.choice("<>"), chance.choice("BHI")
            bits = 8 * struct.calcsize(width)
            extreme = chance.choice(EXTREMES) % 2**bits
            data[at : at + bits // 8] = struct.pack(order + width, extreme)
        case 3:
            del data[at : at + size]
        case 4:
            data[at:at] = data[at : at + size] * chance.choice((1, 2, 64))
        case 5:
            data[at : at + size] = chance.randbytes(size)
        case 6:
            other = chance.choice(files)
            start = chance.randrange(len(other))
            data[at : at + size] = other[start : start + size]
        case 7:
            del data[at:]


def _work(inputs: Connection, seed: int) -> None:
    """The child: decode each input whose number it is told, and say what came of it."""
    files = corpus()
    limits = ImageLimits(max_pixels=5_000_000)
    load_pixels(files[0], limits, PREPROCESS)
    now = peak_mib()
    while True:
        number = inputs.recv()
        try:
            pixels = load_pixels(mutated(files, number, seed), limits, PREPROCESS)
            outcome = f"pixels of {pixels.source.partition('/')[0]}"
        except ImageError as error:
            outcome = error.code
        except BaseException as error:
            outcome = f"FINDING {error!r}"
        inputs.send("FINDING memory" if peak_mib() - now > MOST_MIB else outcome)


class _Child:
    """A process that decodes what it is told to, until it is ended."""

    def __init__(self, seed: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._inputs, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, seed), daemon=True)
        self._process.start()
        theirs.close()
        self._patience_s = 60 + HANG_S  # for its imports

    def outcome(self, number: int) -> str:
        """What came of one input."""
        self._inputs.send(number)
        if not self._inputs.poll(self._patience_s):
            return f"FINDING no answer in {HANG_S:g} s"
        self._patience_s = HANG_S
        try:
            return str(self._inputs.recv())
        except EOFError:
            self._process.join()
            return f"FINDING the process ended with {self._process.exitcode}"

    def end(self) -> None:
        """Whatever it is doing."""
        self._process.kill()
        self._process.join()


def outcomes(numbers: range, seed: int) -> Iterator[tuple[int, str]]:
    """What came of each input; `FINDING ...` where it should not have."""
    child = _Child(seed)
    for number in numbers:
        outcome = child.outcome(number)
        if outcome.startswith("FINDING"):
            child.end()
            child = _Child(seed)
        yield number, outcome
    child.end()


def main() -> None:
    """Print how many inputs came to what; fail where one is a finding."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--findings", type=Path, default=Path("runs/fuzz"))
    args = parser.parse_args()
    began, counts = time.monotonic(), Counter[str]()
    files = corpus()
    for number, outcome in outcomes(range(args.inputs), args.seed):
        counts[outcome] += 1
        if outcome.startswith("FINDING"):
            args.findings.mkdir(parents=True, exist_ok=True)
            kept = args.findings / f"{args.seed}-{number}"
            kept.write_bytes(mutated(files, number, args.seed))
            print(f"{kept}: {outcome}", file=sys.stderr)
    print(f"{args.inputs} inputs from {len(files)} files in {time.monotonic() - began:.0f} s\n")
    print("| what came of them | inputs |\n|---|---:|")
    for outcome, times in counts.most_common():
        print(f"| {outcome} | {times} |")
    if any(outcome.startswith("FINDING") for outcome in counts):
        sys.exit(1)


if __name__ == "__main__":
    main()
