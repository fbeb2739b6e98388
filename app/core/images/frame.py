"""The first frame of an image file, and its decoding by Pillow."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

from app.core.images.conversion import to_rgb
from app.core.images.limits import ImageLimits, check_size
from app.core.images.orientation import ignore_xmp, read_orientation
from app.core.images.profiles import read_profile


@dataclass(frozen=True, slots=True, eq=False)
class DecodedFrame:
    """The first frame of an image file, before its orientation is applied.

    Args:
        pixels: sRGB, uint8 (H, W, 3) or an image of mode RGB; smaller than `size` if scaled.
        size: width and height of the original, in pixels.
        scale: divisor of the sides.
        orientation: EXIF orientation, 1 to 8; 1 if the format has none or the decoder applied it.
    """

    pixels: npt.NDArray[np.uint8] | Image.Image
    size: tuple[int, int]
    scale: int = 1
    orientation: int = 1


@contextmanager
def open_image(
    data: bytes, image_format: str, limits: ImageLimits
) -> Iterator[ImageFile.ImageFile]:
    """Open an image file, without decoding its pixels, and check its size.

    Args:
        data: the whole file.
        image_format: Pillow's name of the format.
        limits: the maximum number of pixels.

    Raises:
        ImageError: too many pixels.
        Exception: any that Pillow raises for a damaged file.
    """
    with Image.open(io.BytesIO(data), formats=[image_format]) as image:
        ignore_xmp(image)
        check_size(*image.size, limits)
        yield image


def to_frame(
    image: ImageFile.ImageFile, profile: bytes | None, mode: str | None = None
) -> DecodedFrame:
    """Decode the pixels of an opened file, if they are not yet, and convert them to sRGB.

    Args:
        image: the opened file.
        profile: ICC profile of its colours, or None.
        mode: mode of the file's samples if Pillow decodes them to another.
    """
    rgb = to_rgb(image, profile, mode)
    return DecodedFrame(rgb, image.size, orientation=read_orientation(image))


def read_default(data: bytes, image_format: str, limits: ImageLimits) -> DecodedFrame:
    """Decode a file of a format that Pillow decodes without checks or corrections.

    Args:
        data: the whole file.
        image_format: Pillow's name of the format.
        limits: the maximum number of pixels.

    Raises:
        ImageError: too many pixels.
        Exception: any that Pillow raises for a damaged file.
    """
    with open_image(data, image_format, limits) as image:
        return to_frame(image, read_profile(image, data))
