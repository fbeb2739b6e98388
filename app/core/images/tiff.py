"""Checks of TIFF files before their pixels are decoded."""

import math

from PIL import ExifTags
from PIL.TiffImagePlugin import TiffImageFile

from app.core.images.limits import ImageLimits, check_size
from app.errors import ImageError


def check_tiff(image: TiffImageFile, limits: ImageLimits) -> None:
    """Check the tiles of a TIFF, which are decoded completely even beyond the image's border.

    Args:
        image: the opened file; its pixels are not decoded.
        limits: the maximum number of pixels.

    Raises:
        ImageError: the tiles have too many pixels.
    """
    if ExifTags.Base.TileWidth not in image.tag_v2:
        return
    width, height = (
        int(image.tag_v2.get(tag, 0)) for tag in (ExifTags.Base.TileWidth, ExifTags.Base.TileLength)
    )
    check_size(width, height, limits, "image's tile")
    tiles = math.ceil(image.width / width) * math.ceil(image.height / height)
    if tiles * width * height > 2 * limits.max_pixels:
        raise ImageError(
            "too_many_pixels",
            f"the image's {tiles:,} tiles of {width} x {height} pixels exceed twice the maximum "
            f"of {limits.max_pixels:,} pixels",
        )
