"""JPEG files -> pixels, by libjpeg-turbo without a detour over four bytes a pixel."""

import numpy as np
import numpy.typing as npt
import simplejpeg


def decode_jpeg(data: bytes, width: int, height: int, scale: int) -> npt.NDArray[np.uint8] | None:
    """Decode a grey or YCbCr JPEG of 8 bits to the same pixels as Pillow does.

    Args:
        data: the whole file.
        width: that it must have, in pixels, so that no file costs more than was allowed.
        height: the same.
        scale: 1, 4 or 8: what its sides are divided by.

    Returns:
        (H, W, 3) uint8 RGB, as it is stored; None where the file is odd in any way.
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
