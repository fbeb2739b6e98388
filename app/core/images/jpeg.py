"""JPEG decoding with libjpeg-turbo, without Pillow's intermediate copy of four bytes per pixel."""

import re
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import simplejpeg

# Each scan of a progressive JPEG processes the whole image (50 million pixels in 0.1 s) and can be
# as short as 100 bytes. Encoders write about ten scans.
MAX_JPEG_SCANS = 500
MAX_SCANNED_PIXELS = 1_000_000_000
MAX_JPEG_MARKERS = 20_000

# Scan data contain FF 00 for FF, and restart markers; fill bytes can precede a marker.
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
_SOI, _EOI, _SOS = b"\xd8", b"\xd9", b"\xda"

# Divisors of the sides. Decoding at 1/2 is not faster than at full size, and changes probabilities
# by up to 0.05.
SCALES = (8, 4)


def decode_jpeg(
    data: bytes, width: int, height: int, min_side_px: int
) -> tuple[npt.NDArray[np.uint8], int] | None:
    """Decode a grey or YCbCr JPEG with 8 bits per sample to the same pixels as Pillow.

    Args:
        data: the whole file.
        width: expected width in pixels; a file with another size is not decoded, so that the limits
            checked by the caller hold.
        height: expected height in pixels.
        min_side_px: minimum length of both sides after scaling.

    Returns:
        (H, W, 3) uint8 RGB without EXIF orientation, and the divisor of its sides: 1, 4 or 8. None
        if libjpeg-turbo rejects the file or finds another size.
    """
    scale = next((scale for scale in SCALES if min(width, height) >= scale * min_side_px), 1)
    try:
        if simplejpeg.decode_jpeg_header(data)[:2] != (height, width):
            return None
        pixels: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(
            data, min_height=-(-height // scale), min_width=-(-width // scale), min_factor=1
        )
    except ValueError:
        return None
    return pixels, scale


def has_too_many_scans(data: bytes, pixels: int) -> bool:
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
