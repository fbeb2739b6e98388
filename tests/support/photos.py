"""Real photos for the tests, from the wheels of scikit-image and scikit-learn."""

import io
import struct
import zlib
from functools import cache
from importlib import import_module
from pathlib import Path

import pillow_heif
import skimage.data
from PIL import Image
from sklearn.datasets import load_sample_image

pillow_heif.register_heif_opener()
import_module("pillow_jxl")  # registers JPEG XL with Pillow

NAMES = ("chelsea", "coffee", "china", "flower")


@cache
def _pixels(name: str) -> Image.Image:
    if name in ("china", "flower"):
        return Image.fromarray(load_sample_image(f"{name}.jpg"))
    return Image.fromarray(getattr(skimage.data, name)())


def sample(name: str) -> Image.Image:
    """Return a copy of one of `NAMES` as an RGB image of about 600 x 400 pixels."""
    return _pixels(name).copy()


def encoded(image: Image.Image, image_format: str, **options: object) -> bytes:
    """Encode an image as a file; `options` are those of Pillow's `Image.save`."""
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def png(width: int, height: int, depth: int, colour: int, rows: bytes, **chunks: bytes) -> bytes:
    """Build a PNG from chunks, for variants that Pillow can read but not write.

    Args:
        width: width in the header, in pixels; independent of `rows`.
        height: height in the header, in pixels; independent of `rows`.
        depth: bits per sample.
        colour: type: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha.
        rows: the image data, with a filter byte before each row.
        chunks: chunks before the image data, by name.
    """
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    bodies = {"IHDR": header, **chunks, "IDAT": zlib.compress(rows, 1), "IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        png_chunk(name.encode(), body) for name, body in bodies.items()
    )


def png_chunk(name: bytes, body: bytes, *, damaged: bool = False) -> bytes:
    """Build a chunk of a PNG: length, name, body, checksum.

    Args:
        name: 4 letters.
        body: the content.
        damaged: whether the checksum is wrong.
    """
    checksum = zlib.crc32(name + body) ^ damaged
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum)


def write_small_photos(folder: Path) -> list[Path]:
    """Write two JPEGs of at most 64 x 64 pixels to a folder and return their paths."""
    files = [folder / "chelsea.jpg", folder / "coffee.jpg"]
    for file in files:
        image = sample(file.stem)
        image.thumbnail((64, 64))
        file.write_bytes(encoded(image, "JPEG"))
    return files
