"""JPEG files -> pixels, by libjpeg-turbo without a detour over four bytes a pixel."""

import re
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import simplejpeg

# Each scan of a progressive JPEG passes over the whole picture, 50 million pixels in 0.1 s, and may
# have a hundred bytes. Encoders write about ten.
MAX_JPEG_SCANS = 500
MAX_SCANNED_PIXELS = 1_000_000_000
MAX_JPEG_MARKERS = 20_000

# Data of a scan have FF 00 for FF, and marks that count; fill bytes may stand before a marker.
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
_SOI, _EOI, _SOS = b"\xd8", b"\xd9", b"\xda"

# At a half, decoding takes no less time than in whole, and the difference to the whole moves
# probabilities by up to 0.05.
SCALES = (8, 4)


def decode_jpeg(
    data: bytes, width: int, height: int, min_side_px: int
) -> tuple[npt.NDArray[np.uint8], int] | None:
    """Decode a grey or YCbCr JPEG of 8 bits to the same pixels as Pillow does.

    Args:
        data: the whole file.
        width: that it must have, in pixels, so that no file costs more than was allowed.
        height: the same.
        min_side_px: both sides keep as many pixels, where it is scaled down.

    Returns:
        (H, W, 3) uint8 RGB, as it is stored, and what its sides were divided by: 1, 4 or 8. None
        where the file is odd in any way.
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
    """Whether a JPEG has so many scans that it takes several times as long as others of its size.

    Args:
        data: the whole file.
        pixels: its width times its height.
    """
    most = min(MAX_JPEG_SCANS, MAX_SCANNED_PIXELS // pixels)
    # Enough for nearly all files, in a third of the time. `bytes.count` would take a tenth of the
    # time that decoding does.
    pairs = (np.frombuffer(data, "<u2", (len(data) - first) // 2, first) for first in (0, 1))
    if sum(int(np.count_nonzero(pair == 0xDAFF)) for pair in pairs) <= most:
        return False
    scans = 0
    for number, marker in enumerate(_markers(data)):
        scans += marker == _SOS
        if scans > most or number > MAX_JPEG_MARKERS:
            return True
    return False


def _markers(data: bytes) -> Iterator[bytes]:
    """A JPEG's markers, up to the picture's end: a phone's film may follow, and has any bytes."""
    at = 0
    while found := _MARKER.search(data, at):
        marker, at = found[1], found.end()
        yield marker
        if marker == _EOI:
            return
        if marker not in (_SOI, b"\x01"):  # what belongs to it has a length
            at += int.from_bytes(data[at : at + 2])
