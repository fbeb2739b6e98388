"""JPEG photos of the sizes that phones and web pages send, made of the sample photos."""

from functools import cache
from itertools import count

from PIL import Image

from tests.support.photos import NAMES, encoded, sample

# Megapixels, as the command line says them -> width and height in pixels.
SIZES = {0.3: (640, 480), 3.0: (2048, 1536), 12.0: (4000, 3000)}
ROW_PX = 300  # the lowest sample's height: every row of a mosaic is cut to it


@cache
def photos(megapixels: float) -> tuple[bytes, ...]:
    """Photos of one size that differ, the same on every machine with the same Pillow.

    A large one is a mosaic of samples at their own resolution: enlarged ones would have too
    little detail, and so too few bytes to decode.

    Args:
        megapixels: a key of `SIZES`.

    Returns:
        As many JPEG files as there are samples: quality 88, 4:2:0.
    """
    return tuple(
        encoded(_mosaic(SIZES[megapixels], first), "JPEG", quality=88, subsampling="4:2:0")
        for first in range(len(NAMES))
    )


def _mosaic(size: tuple[int, int], first: int) -> Image.Image:
    """Rows of samples, beginning with the sample of that number, until the canvas is full.

    Args:
        size: width and height in pixels.
        first: 0 to 3; each gives another picture.
    """
    width, height = size
    canvas = Image.new("RGB", size)
    numbers = count(first)
    for top in range(0, height, ROW_PX):
        left = 0
        while left < width:
            tile = sample(NAMES[next(numbers) % len(NAMES)])
            middle = (tile.height - ROW_PX) // 2
            canvas.paste(tile.crop((0, middle, tile.width, middle + ROW_PX)), (left, top))
            left += tile.width
        next(numbers)  # or equal columns would lie below each other
    return canvas
