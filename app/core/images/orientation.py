"""Orientation of images: EXIF."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

Samples = npt.NDArray[np.uint8]

_UPRIGHT: dict[int, Callable[[Samples], Samples]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}
_SIDEWAYS = {5, 6, 7, 8}


def ignore_xmp(image: Image.Image) -> None:
    """Remove XMP from an opened file, before its pixels are decoded.

    Pillow applies the orientation in XMP if EXIF has none; browsers do not.
    """
    for name in ("xmp", "XML:com.adobe.xmp"):
        image.info.pop(name, None)


def read_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 if EXIF is missing or invalid, as in browsers."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return 1


def turn_upright(pixels: Samples, orientation: int) -> Samples:
    """Apply an EXIF orientation.

    Args:
        pixels: uint8 (H, W, 3).
        orientation: 1 to 8; another value changes nothing.

    Returns:
        uint8 (H, W, 3), or (W, H, 3) if `is_sideways`.
    """
    if orientation not in _UPRIGHT:
        return pixels
    return np.ascontiguousarray(_UPRIGHT[orientation](pixels))


def is_sideways(orientation: int) -> bool:
    """Return whether an EXIF orientation swaps width and height."""
    return orientation in _SIDEWAYS
