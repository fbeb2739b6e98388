"""The one way from the bytes of a photo to the model's input."""

from dataclasses import dataclass

from torch import Tensor

from app.core.images.decoding import ImageLimits, decode
from app.core.images.preprocessing import Preprocess, resize


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """One photo, ready to be put in a batch.

    Args:
        values: uint8 (3, S, S), 0 to 255, channels last in memory.
        width: of the photo itself after EXIF orientation, in pixels.
        height: of the photo itself after EXIF orientation, in pixels.
        source: the file's format and at which scale it was decoded, such as `JPEG/4`.
    """

    values: Tensor
    width: int
    height: int
    source: str


def load_pixels(data: bytes, limits: ImageLimits, preprocess: Preprocess) -> Pixels:
    """Decode and resize a photo, the same for serving, training and evaluation.

    Args:
        data: the whole image file.
        limits: most bytes and pixels.
        preprocess: how the checkpoint wants its photos.

    Raises:
        ImageError: the bytes cannot be used.
    """
    photo = decode(
        data,
        limits,
        min_side_px=2 * preprocess.size_px,
        exif_orientation=preprocess.exif_orientation,
    )
    return Pixels(resize(photo.pixels, preprocess), photo.width, photo.height, photo.source)
