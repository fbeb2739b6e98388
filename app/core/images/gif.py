"""Decoding of GIF files by Pillow, with their canvas as browsers show it."""

from PIL import Image

from app.core.images.conversion import to_rgb
from app.core.images.frame import DecodedFrame, open_image
from app.core.images.limits import ImageLimits


def read_gif(data: bytes, limits: ImageLimits) -> DecodedFrame:
    """Decode the first frame of a GIF.

    Args:
        data: the whole file.
        limits: the maximum number of pixels.

    Raises:
        ImageError: too many pixels.
        Exception: any that Pillow raises for a damaged file.
    """
    with open_image(data, "GIF", limits) as image:
        edges = image.tile[0].extents
        return DecodedFrame(_clear_outside(to_rgb(image), edges), image.size)


def _clear_outside(image: Image.Image, edges: tuple[int, int, int, int] | None) -> Image.Image:
    """Return an image that is white outside its first frame, where browsers show nothing.

    Pillow fills the rest of the canvas with the background colour, which browsers ignore.

    Args:
        image: mode RGB, with the size of the canvas.
        edges: left, upper, right and lower edge of the first frame, in pixels; None for
            the whole canvas.
    """
    if edges is None or edges == (0, 0, *image.size):
        return image
    canvas = Image.new("RGB", image.size, "white")
    canvas.paste(image.crop(edges), edges)
    return canvas
