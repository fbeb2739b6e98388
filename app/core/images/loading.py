"""Decoding and resizing: from the bytes of an image file to the uint8 input of the model."""

from dataclasses import dataclass

from torch import Tensor

from app.core.images.decoding import decode
from app.core.images.limits import ImageLimits
from app.core.images.preprocessing import Preprocess, resize


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """A decoded and resized image, ready for batching.

    Args:
        values: uint8 (3, S, S), 0 to 255, channels last in memory.
        width: of the original image after EXIF orientation, in pixels.
        height: of the original image after EXIF orientation, in pixels.
        source: format of the file and scale of the decoding, such as `JPEG/4`.
    """

    values: Tensor
    width: int
    height: int
    source: str


def load_pixels(data: bytes, limits: ImageLimits, preprocess: Preprocess) -> Pixels:
    """Decode and resize an image. Serving, training and evaluation all use this function.

    Args:
        data: the whole image file.
        limits: maximum bytes and pixels.
        preprocess: the checkpoint's preprocessing.

    Raises:
        ImageError: the image cannot be decoded or exceeds a limit.
    """
    photo = decode(
        data,
        limits,
        min_side_px=2 * preprocess.size_px,
        exif_orientation=preprocess.exif_orientation,
    )
    return Pixels(resize(photo.pixels, preprocess), photo.width, photo.height, photo.source)
