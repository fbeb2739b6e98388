"""JPEG decoding with libjpeg-turbo, without Pillow's intermediate copy of four bytes per pixel.

Pillow reads the metadata, and decodes what libjpeg-turbo's simple interface refuses.
"""

import io
import re
from collections.abc import Iterator
from functools import partial

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, ImageFile, UnidentifiedImageError

from app.core.images.colour import convert_samples, find_transform
from app.core.images.conversion import to_rgb
from app.core.images.frame import DecodedFrame
from app.core.images.jpeg_header import (
    MAX_JPEG_MARKERS,
    Frame,
    find_missing_end,
    read_frame,
    strip_segments,
)
from app.core.images.limits import ImageLimits, check_size
from app.core.images.orientation import ignore_xmp, read_orientation
from app.core.images.profiles import read_profile
from app.errors import ImageError

# Each scan of a progressive JPEG processes the whole image (50 million pixels in 0.1 s) and can be
# as short as 100 bytes. Encoders write about ten scans.
MAX_JPEG_SCANS = 500
MAX_SCANNED_PIXELS = 1_000_000_000

# Scan data contain FF 00 for FF, and restart markers; fill bytes can precede a marker.
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
_SOI, _EOI, _SOS = b"\xd8", b"\xd9", b"\xda"
EOI = b"\xff\xd9"

# Divisors of the sides. Decoding at 1/2 is not faster than at full size, and changes probabilities
# by up to 0.05.
SCALES = (8, 4)

_CORRUPT = "Corrupt JPEG data"
_EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker")
# A download in progress can have zeros instead of the rest. No scan ends with as many zeros, unless
# it has optimised tables and ends with an even surface.
_ZEROS = bytes(32)


def read_jpeg(data: bytes, limits: ImageLimits, min_side_px: int) -> DecodedFrame:
    """Decode a JPEG, at a fraction of its size if both sides keep `min_side_px` pixels.

    Args:
        data: the whole file.
        limits: the maximum number of pixels.
        min_side_px: minimum side of the decoded image, in pixels.

    Raises:
        ImageError: the coding is not supported, too many pixels, or too many scans.
        Exception: any that Pillow raises for a damaged file.
    """
    header = read_frame(data)
    with _open(data) as image:
        ignore_xmp(image)
        width, height = image.size
        scale = _choose_scale(header, width, height, min_side_px)
        what = "progressive JPEG" if header.progressive else "image"
        check_size(width, height, limits, what, reduced=header.one_pass and scale > 1)
        if not header.one_pass and _has_too_many_scans(data, width * height):
            raise ImageError(
                "corrupt", "the JPEG image has too many scans for its size: save it again"
            )
        profile = read_profile(image, data)
        frame = partial(
            DecodedFrame, size=image.size, scale=scale, orientation=read_orientation(image)
        )
        if image.mode in ("L", "RGB"):
            pixels = _decode(data, width, height, scale)
            if pixels is not None:
                if (transform := find_transform(profile, image.mode)) is not None:
                    convert_samples(pixels, transform)
                return frame(pixels)
        whole = _add_missing_end(data, header)
        if whole is not data:
            return read_jpeg(whole, limits, min_side_px)
        image.draft(None, (width // scale, height // scale))
        return frame(to_rgb(image, profile))


def _open(data: bytes) -> ImageFile.ImageFile:
    try:
        return Image.open(io.BytesIO(data), formats=["JPEG"])
    except UnidentifiedImageError:
        return Image.open(io.BytesIO(strip_segments(data)), formats=["JPEG"])


def _choose_scale(frame: Frame, width: int, height: int, min_side_px: int) -> int:
    """Return the largest divisor, 1, 4 or 8, with which both sides keep `min_side_px` pixels."""
    if frame.lossless:
        return 1
    return next((scale for scale in SCALES if min(width, height) >= scale * min_side_px), 1)


def _decode(data: bytes, width: int, height: int, scale: int) -> npt.NDArray[np.uint8] | None:
    """Decode a grey or YCbCr JPEG with 8 bits per sample to the same pixels as Pillow.

    Args:
        data: the whole file.
        width: expected width in pixels; a file with another size is not decoded, so that the limits
            checked by the caller hold.
        height: expected height in pixels.
        scale: divisor of the sides.

    Returns:
        (H, W, 3) uint8 RGB without EXIF orientation. None if libjpeg-turbo reports any damage,
        finds another size, or does not support the subsampling.
    """
    try:
        if simplejpeg.decode_jpeg_header(data)[:2] != (height, width):
            return None
        pixels: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(
            data, min_height=-(-height // scale), min_width=-(-width // scale), min_factor=1
        )
    except ValueError:
        return None
    return pixels


def _add_missing_end(data: bytes, frame: Frame) -> bytes:
    """Add the end marker to a JPEG that lacks it, if its scans are whole.

    Panoramas of some phones lack it; other data can follow. libjpeg-turbo decides whether the scans
    are whole: it reports scan data that end too early, and counts bytes that it does not need.

    Args:
        data: the whole file.
        frame: its frame header.

    Returns:
        The file up to the end of its scans and with an end marker; `data` if it has one or this
        cannot be decided.

    Raises:
        EOFError: the scans are not whole.
    """
    end = find_missing_end(data, frame) if frame.huffman else None
    if end is None:
        return data
    for _ in range(3):  # the decoder reads some bytes ahead, which it counts the next time
        error = _damage(data[:end] + EOI, frame)
        extraneous = _EXTRANEOUS.search(error)
        if extraneous is None:
            break
        end -= int(extraneous[1])
    if _CORRUPT in error or (not error and data.endswith(_ZEROS, 0, end)):
        raise EOFError("the scan is truncated")
    return data if error else data[:end] + EOI


def _damage(data: bytes, frame: Frame) -> str:
    """Return the first damage that libjpeg-turbo finds in a JPEG; empty if there is none."""
    colours = "CMYK" if len(frame.components) == 4 else "GRAY"
    try:
        simplejpeg.decode_jpeg(data, colours, min_height=1, min_width=1, min_factor=8)
    except ValueError as error:
        return str(error)
    return ""


def _has_too_many_scans(data: bytes, pixels: int) -> bool:
    """Return whether a JPEG has so many scans that decoding takes far longer than usual.

    Args:
        data: the whole file.
        pixels: width times height.
    """
    max_scans = min(MAX_JPEG_SCANS, MAX_SCANNED_PIXELS // pixels)
    # A quick upper bound, which suffices for nearly all files and takes a third of the time of
    # `bytes.count`, which would take a tenth of the decoding time.
    pairs = (np.frombuffer(data, "<u2", (len(data) - first) // 2, first) for first in (0, 1))
    if sum(int(np.count_nonzero(pair == 0xDAFF)) for pair in pairs) <= max_scans:
        return False
    scans = 0
    for number, marker in enumerate(_markers(data)):
        scans += marker == _SOS
        if scans > max_scans or number > MAX_JPEG_MARKERS:
            return True
    return False


def _markers(data: bytes) -> Iterator[bytes]:
    """Yield the markers of a JPEG up to the end of the image; phones may append a video."""
    at = 0
    while found := _MARKER.search(data, at):
        marker, at = found[1], found.end()
        yield marker
        if marker == _EOI:
            return
        if marker not in (_SOI, b"\x01"):  # a segment with a length
            at += int.from_bytes(data[at : at + 2])
