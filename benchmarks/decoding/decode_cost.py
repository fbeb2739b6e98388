"""Measures the worst case of decoding: all threads of the pool decode photos of the largest size.

python -m benchmarks.decoding.decode_cost

Each row is measured in a separate process, whose threads decode and resize the same file as the
server does. The files need the most memory or time of their format: a JPEG with a short side is not
decoded at a smaller scale, alpha and 16-bit samples need additional buffers, and EXIF orientation
needs a rotated copy.
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


def rotated() -> Image.Exif:
    """Return EXIF data with an orientation that rotates the photo by 90 degrees."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return exif


def _pillow_file(image_format: str, mode: str, size: tuple[int, int], **options: object) -> bytes:
    return encoded(Image.new(mode, size, 1), image_format, exif=rotated(), **options)


def _jpeg_of_many_scans() -> bytes:
    """Repeat the last scan of a progressive JPEG up to the limit."""
    file = _pillow_file("JPEG", "RGB", SQUARE, progressive=True)
    repeats = MAX_SCANNED_PIXELS // (SQUARE[0] * SQUARE[1]) - file.count(b"\xff\xda")
    return file[:-2] + file[file.rindex(b"\xff\xda") : -2] * repeats + file[-2:]


def _png(depth: int, colour: int, channels: int, **chunks: bytes) -> bytes:
    width, height = SQUARE
    row = b"\x00" + bytes(width * channels * depth // 8)
    compressor = zlib.compressobj(1)
    data = b"".join(compressor.compress(row) for _ in range(height)) + compressor.flush()
    file = png(width, height, depth, colour, b"", eXIf=rotated().tobytes()[6:], **chunks)
    return file.replace(_idat(zlib.compress(b"", 1)), _idat(data))


def _idat(data: bytes) -> bytes:
    content = b"IDAT" + data
    return len(data).to_bytes(4) + content + zlib.crc32(content).to_bytes(4)


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
    "JPEG": lambda: _pillow_file("JPEG", "RGB", NARROW),
    "JPEG, progressive, CMYK": lambda: _pillow_file("JPEG", "CMYK", NARROW, progressive=True),
    "JPEG, progressive, CMYK, smaller": lambda: _pillow_file(
        "JPEG", "CMYK", SQUARE, progressive=True
    ),
    "JPEG, progressive, most scans allowed": _jpeg_of_many_scans,
    "PNG, RGB": lambda: _png(8, 2, 3),
    "PNG, 16-bit RGBA": lambda: _png(16, 6, 4),
    "PNG, 16-bit grey, one transparent colour": lambda: _png(16, 0, 1, tRNS=b"\x00\x01"),
    "PNG, palette with alpha": lambda: _png(8, 3, 1, PLTE=bytes(768), tRNS=bytes(range(256))),
    "WEBP, lossy": lambda: _pillow_file("WEBP", "RGB", SQUARE, method=0),
    "WEBP, lossless, alpha": lambda: _pillow_file("WEBP", "RGBA", SQUARE, lossless=True, method=0),
    "GIF, transparent": lambda: encoded(Image.new("P", SQUARE, 1), "GIF", transparency=1),
    "BMP": lambda: encoded(Image.new("1", SQUARE), "BMP"),
    "TIFF, 16-bit RGBA": lambda: _tiff(4, "rgb", ["unassalpha"], np.uint16),
    "TIFF, 16-bit CMYK": lambda: _tiff(4, "separated", [], np.uint16),
    "TIFF, 16-bit grey": lambda: _tiff(1, "miniswhite", [], np.uint16),
    "TIFF, grey, premultiplied alpha": lambda: _tiff(2, "minisblack", ["assocalpha"], np.uint8),
    "AVIF": lambda: _pillow_file("AVIF", "RGB", SQUARE, subsampling="4:4:4", speed=10),
    "AVIF, alpha": lambda: _pillow_file("AVIF", "RGBA", SQUARE, subsampling="4:4:4", speed=10),
}


def decode_concurrently(path: Path, threads: int) -> None:
    """Decode one file in several threads.

    Prints the growth of resident memory in MiB, and the seconds per photo in each thread.

    Args:
        path: an image file.
        threads: number of threads; each decodes the file twice.
    """
    keep_freed_memory()
    data = path.read_bytes()
    load_pixels(encoded(Image.new("RGB", (640, 480)), "JPEG"), ImageLimits(), PREPROCESS)

    def decode(_: int) -> None:
        try:
            load_pixels(data, ImageLimits(), PREPROCESS)
        except ImageError as error:
            sys.exit(str(error))

    before_mib, started = peak_mib(), time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(decode, range(2 * threads)))
    print(peak_mib() - before_mib, (time.perf_counter() - started) / 2)


def main() -> None:
    """Print a row for each file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=Settings().decode_threads)
    parser.add_argument("--file", type=Path, help="decode this file in this process")
    args = parser.parse_args()
    if args.file:
        decode_concurrently(args.file, args.threads)
        return
    pixels = SQUARE[0] * SQUARE[1]
    print("| file | MB | memory, MiB | bytes per pixel and thread | s |\n|---|---:|---:|---:|---:|")
    for name, make in FILES.items():
        with TemporaryDirectory() as folder:
            path = Path(folder, "photo")
            path.write_bytes(make())
            command = [sys.executable, "-m", "benchmarks.decoding.decode_cost", "--file", str(path)]
            command += ["--threads", str(args.threads)]
            run = subprocess.run(command, capture_output=True, text=True, check=False)
            if run.returncode:
                sys.exit(f"{name}: {run.stderr}")
            growth_mib, seconds = map(float, run.stdout.split())
            size = path.stat().st_size / 1e6
        each = growth_mib * 2**20 / pixels / args.threads
        print(
            f"| {name} | {size:.1f} | {growth_mib:.0f} | {each:.1f} | {seconds:.1f} |", flush=True
        )


if __name__ == "__main__":
    main()
