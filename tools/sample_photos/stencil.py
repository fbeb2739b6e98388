"""Silhouettes drawn with Pillow and looked up at points of the photo."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from tools.sample_photos.arrays import Array

SIDE_PIXELS = 2400  # height of a drawing
ASPECT = 4 / 3

Point = tuple[float, float]
Draw = Callable[["Pen"], None]


class Pen:
    """Draws shapes in the photo's coordinates: half heights from the centre, y up."""

    def __init__(self, draw: ImageDraw.ImageDraw) -> None:
        self._draw = draw

    def polygon(self, points: list[Point]) -> None:
        """Fill a polygon."""
        half = SIDE_PIXELS / 2
        self._draw.polygon([((x + ASPECT) * half, (1.0 - y) * half) for x, y in points], fill=255)


def stencil(draw: Draw) -> Array:
    """Draw a silhouette; (SIDE_PIXELS, SIDE_PIXELS * ASPECT), 1 inside."""
    image = Image.new("L", (round(SIDE_PIXELS * ASPECT), SIDE_PIXELS))
    draw(Pen(ImageDraw.Draw(image)))
    return np.asarray(image, dtype=np.float64) / 255.0


def inside(drawing: Array, x: Array, y: Array) -> Array:
    """Whether points of the photo are inside a silhouette: 0 or 1, shape of `x`."""
    height, width = drawing.shape
    column = np.clip((x + ASPECT) * height / 2, 0, width - 1).astype(np.int64)
    row = np.clip((1.0 - y) * height / 2, 0, height - 1).astype(np.int64)
    covered: Array = drawing[row, column]
    return covered
