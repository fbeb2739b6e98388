"""JPEG files -> pixels, by libjpeg-turbo without a detour over four bytes a pixel."""

import numpy as np
import numpy.typing as npt
import simplejpeg

# Each scan of a progressive JPEG passes over the whole picture, and an empty one takes less than
# a hundred bytes: 20 MiB of them would keep a core busy for half an hour. Cameras write about ten.
MAX_JPEG_SCANS = 500

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


def has_too_many_scans(data: bytes) -> bool:
    """Whether a JPEG has more than `MAX_JPEG_SCANS`."""
    # `bytes.count` would take a tenth of the time that decoding does.
    pairs = (np.frombuffer(data, "<u2", (len(data) - first) // 2, first) for first in (0, 1))
    return sum(int(np.count_nonzero(pair == 0xDAFF)) for pair in pairs) > MAX_JPEG_SCANS
