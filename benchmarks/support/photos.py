"""JPEG photos in the sizes that phones and web pages send, made from the sample photos."""

from functools import cache
from itertools import count

from PIL import Image

from tests.support.photos import NAMES, encoded, sample

# Megapixels, as on the command line -> width and height in pixels.
SIZES = {0.3: (640, 480), 3.0: (2048, 1536), 12.0: (4000, 3000)}
ROW_PX = 300  # height of the lowest sample; each row of a mosaic is cropped to it


@cache
def photos(megapixels: float) -> tuple[bytes, ...]:
    """Return different photos of one size, deterministic for a version of Pillow.

    A large photo is a mosaic of samples at their own resolution: enlarged samples would have too
    little detail, and so too few bytes to decode.

    Args:
        megapixels: a key of `SIZES`.

    Returns:
        One JPEG file per sample: quality 88, 4:2:0.
    """
    return tuple(
        encoded(mosaic(SIZES[megapixels], first), "JPEG", quality=88, subsampling="4:2:0")
        for first in range(len(NAMES))
    )


def mosaic(size: tuple[int, int], first: int) -> Image.Image:
    """Fill a canvas with rows of samples.

    Args:
        size: width and height in pixels.
        first: index of the sample to start with, 0 to 3.
    """
    width, height = size
    canvas = Image.new("RGB", size)
    indices = count(first)
    for top in range(0, height, ROW_PX):
        left = 0
        while left < width:
            tile = sample(NAMES[next(indices) % len(NAMES)])
            middle = (tile.height - ROW_PX) // 2
            canvas.paste(tile.crop((0, middle, tile.width, middle + ROW_PX)), (left, top))
            left += tile.width
        next(indices)  # shifts the next row, so that equal samples are not stacked
    return canvas
