"""Most that decoding costs: every thread of the pool at once, on photos of the largest size.

python -m benchmarks.decoding.decode_cost

Each row is a process of its own, whose threads decode and resize the same file as the server does.
The files are those for which the format's decoder, or what follows it, holds most, or computes
longest: no smaller JPEG
is made where one side is short, alpha and 16 bits are kept beside the picture, EXIF turns it.
"""

import argparse
import io
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import tifffile
from PIL import ExifTags, Image

from app.core.images import ImageLimits, Preprocess, load_pixels
from app.core.images.jpeg import MAX_SCANNED_PIXELS
from app.core.runtime import keep_freed_memory
from app.errors import ImageError
from app.settings import Settings
from benchmarks.support.processes import peak_mib
from tests.support.photos import encoded, png

SQUARE = 7071, 7071  # 49,999,041 pixels
NARROW = 65_500, 763  # 49,976,500
PREPROCESS = Preprocess(288, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic")


def turned() -> Image.Exif:
    """EXIF of a photo that was taken upright."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return exif


def _of_pillow(image_format: str, mode: str, size: tuple[int, int], **options: object) -> bytes:
    return encoded(Image.new(mode, size, 1), image_format, exif=turned(), **options)


def _jpeg_of_many_scans() -> bytes:
    whole = _of_pillow("JPEG", "RGB", SQUARE, progressive=True)
    more = MAX_SCANNED_PIXELS // (SQUARE[0] * SQUARE[1]) - whole.count(b"\xff\xda")
    return whole[:-2] + whole[whole.rindex(b"\xff\xda") : -2] * more + whole[-2:]


def _png(depth: int, colour: int, channels: int, **chunks: bytes) -> bytes:
    width, height = SQUARE
    row = b"\x00" + bytes(width * channels * depth // 8)
    packed = zlib.compressobj(1)
    data = b"".join(packed.compress(row) for _ in range(height)) + packed.flush()
    whole = png(width, height, depth, colour, b"", eXIf=turned().tobytes()[6:], **chunks)
    return whole.replace(_idat(zlib.compress(b"", 1)), _idat(data))


def _idat(data: bytes) -> bytes:
    named = b"IDAT" + data
    return len(data).to_bytes(4) + named + zlib.crc32(named).to_bytes(4)


def _tiff(channels: int, photometric: str, extra: list[str], dtype: type) -> bytes:
    file = io.BytesIO()
    shape = (*SQUARE, channels) if channels > 1 else SQUARE
    tifffile.imwrite(
        file,
        np.zeros(shape, dtype),
        photometric=photometric,
        extrasamples=extra,
        compression="zlib",
        rowsperstrip=SQUARE[1],
        extratags=[(274, 3, 1, 6, True)],
    )
    return file.getvalue()


FILES: dict[str, Callable[[], bytes]] = {
    "JPEG": lambda: _of_pillow("JPEG", "RGB", NARROW),
    "JPEG, progressive, CMYK": lambda: _of_pillow("JPEG", "CMYK", NARROW, progressive=True),
    "JPEG, progressive, CMYK, smaller": lambda: _of_pillow(
        "JPEG", "CMYK", SQUARE, progressive=True
    ),
    "JPEG, progressive, as many scans as may be": _jpeg_of_many_scans,
    "PNG, RGB": lambda: _png(8, 2, 3),
    "PNG, 16-bit RGBA": lambda: _png(16, 6, 4),
    "PNG, 16-bit grey, a colour transparent": lambda: _png(16, 0, 1, tRNS=b"\x00\x01"),
    "PNG, palette with alpha": lambda: _png(8, 3, 1, PLTE=bytes(768), tRNS=bytes(range(256))),
    "WEBP, lossy": lambda: _of_pillow("WEBP", "RGB", SQUARE, method=0),
    "WEBP, lossless, alpha": lambda: _of_pillow("WEBP", "RGBA", SQUARE, lossless=True, method=0),
    "GIF, transparent": lambda: encoded(Image.new("P", SQUARE, 1), "GIF", transparency=1),
    "BMP": lambda: encoded(Image.new("1", SQUARE), "BMP"),
    "TIFF, 16-bit RGBA": lambda: _tiff(4, "rgb", ["unassalpha"], np.uint16),
    "TIFF, 16-bit CMYK": lambda: _tiff(4, "separated", [], np.uint16),
    "TIFF, 16-bit grey": lambda: _tiff(1, "miniswhite", [], np.uint16),
    "TIFF, grey, premultiplied alpha": lambda: _tiff(2, "minisblack", ["assocalpha"], np.uint8),
    "AVIF": lambda: _of_pillow("AVIF", "RGB", SQUARE, subsampling="4:4:4", speed=10),
    "AVIF, alpha": lambda: _of_pillow("AVIF", "RGBA", SQUARE, subsampling="4:4:4", speed=10),
}


def decode_at_once(path: Path, threads: int) -> None:
    """Decode one file in so many threads.

    Prints the growth of resident memory, in MiB, and the seconds of one photo while every thread
    has one.
    """
    keep_freed_memory()
    data = path.read_bytes()
    load_pixels(encoded(Image.new("RGB", (640, 480)), "JPEG"), ImageLimits(), PREPROCESS)

    def decode(_: int) -> None:
        try:
            load_pixels(data, ImageLimits(), PREPROCESS)
        except ImageError as error:
            sys.exit(str(error))

    before, began = peak_mib(), time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(decode, range(2 * threads)))
    print(peak_mib() - before, (time.perf_counter() - began) / 2)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=Settings().decode_threads)
    parser.add_argument("--file", type=Path, help="decode this one, in this process")
    args = parser.parse_args()
    if args.file:
        decode_at_once(args.file, args.threads)
        return
    pixels = SQUARE[0] * SQUARE[1]
    print("| file | MB | memory, MiB | bytes a pixel and thread | s |\n|---|---:|---:|---:|---:|")
    for name, make in FILES.items():
        with TemporaryDirectory() as folder:
            path = Path(folder, "photo")
            path.write_bytes(make())
            command = [sys.executable, "-m", "benchmarks.decoding.decode_cost", "--file", str(path)]
            command += ["--threads", str(args.threads)]
            run = subprocess.run(command, capture_output=True, text=True, check=False)
            if run.returncode:
                sys.exit(f"{name}: {run.stderr}")
            grown_mib, seconds = map(float, run.stdout.split())
            size = path.stat().st_size / 1e6
        each = grown_mib * 2**20 / pixels / args.threads
        print(f"| {name} | {size:.1f} | {grown_mib:.0f} | {each:.1f} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
