"""Size limits of one image."""

from dataclasses import dataclass

from app.errors import ImageError

# Resampling allocates in proportion to the longest side, and Pillow keeps a pointer per row: an
# image of 1 x 50,000,000 pixels would need gigabytes despite the pixel limit. JPEG has this limit.
MAX_SIDE_PX = 65_535

# A baseline JPEG is decoded row by row. At 1/4 or 1/8 of its sides, four times as many pixels need
# less memory than other images of the limit, and four times the time of its entropy decoding.
MAX_PIXELS_FACTOR = 4


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """Size limits of one image.

    Args:
        max_bytes: maximum bytes of the file.
        max_pixels: maximum pixels, width times height, according to the header of the file; see
            also `MAX_PIXELS_FACTOR`.
    """

    max_bytes: int = 20 * 2**20
    max_pixels: int = 50_000_000


def check_size(
    width: int, height: int, limits: ImageLimits, what: str = "image", *, reduced: bool = False
) -> None:
    """Check the size of an image, or of a tile of an image.

    Args:
        width: in pixels.
        height: in pixels.
        limits: the maximum number of pixels.
        what: what has this size, for the message.
        reduced: whether it is a baseline JPEG that is decoded at 1/4 or 1/8 of its sides.

    Raises:
        ImageError: too many pixels, or a side that is too long.
    """
    max_reduced = MAX_PIXELS_FACTOR * limits.max_pixels
    if width * height > (max_reduced if reduced else limits.max_pixels):
        raise ImageError(
            "too_many_pixels",
            f"the {what} is {width} x {height} = {width * height:,} pixels; "
            f"at most {limits.max_pixels:,} are allowed, {max_reduced:,} in a baseline "
            "JPEG that is decoded at 1/4 or 1/8 of its sides",
        )
    if max(width, height) > MAX_SIDE_PX:
        raise ImageError(
            "too_many_pixels",
            f"the {what} is {width} x {height} pixels; a side may have at most {MAX_SIDE_PX:,}",
        )
