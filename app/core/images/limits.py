"""Size limits of one image."""

from dataclasses import dataclass

from app.errors import ImageError

# Resampling allocates in proportion to the longest side, and Pillow keeps a pointer per row: an
# image of 1 x 50,000,000 pixels would need gigabytes despite the pixel limit. JPEG has this limit.
MAX_SIDE_PX = 65_535


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """Size limits of one image.

    Args:
        max_bytes: maximum bytes of the file.
        max_pixels: maximum pixels, width times height, according to the header of the file.
    """

    max_bytes: int = 20 * 2**20
    max_pixels: int = 50_000_000


def check_size(width: int, height: int, limits: ImageLimits, what: str = "image") -> None:
    """Check the size of an image, or of a tile of an image.

    Args:
        width: in pixels.
        height: in pixels.
        limits: the maximum number of pixels.
        what: what has this size, for the message.

    Raises:
        ImageError: too many pixels, or a side that is too long.
    """
    if width * height > limits.max_pixels:
        raise ImageError(
            "too_many_pixels",
            f"the {what} is {width} x {height} = {width * height:,} pixels; "
            f"at most {limits.max_pixels:,} are allowed",
        )
    if max(width, height) > MAX_SIDE_PX:
        raise ImageError(
            "too_many_pixels",
            f"the {what} is {width} x {height} pixels; a side may have at most {MAX_SIDE_PX:,}",
        )
