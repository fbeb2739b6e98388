"""Decoded photos and their expected pixels."""

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from app.core.images import ImageLimits
from app.core.images.decoding import Photo, decode

Pixels = npt.NDArray[np.int16]
LIMITS = ImageLimits()
FULL_SIZE = 100_000  # a side that no photo reaches: no reduced decoding


def decoded(data: bytes, *, min_side_px: int = FULL_SIZE, exif_orientation: bool = True) -> Photo:
    """Decode a photo with the default limits, by default at full size."""
    return decode(data, LIMITS, min_side_px=min_side_px, exif_orientation=exif_orientation)


def pixels(image: Image.Image | npt.NDArray[np.uint8]) -> Pixels:
    """Return RGB pixels as int16, so that differences do not overflow."""
    samples = np.asarray(image)
    assert samples.shape[2] == 3
    assert samples.dtype == np.uint8
    return samples.astype(np.int16)


def assert_same(photo: Photo, expected: Image.Image, mean_error: float = 0.0) -> None:
    """Check the size of a photo and the mean absolute error of its pixels."""
    assert (photo.width, photo.height) == expected.size == photo.pixels.shape[1::-1]
    assert np.abs(pixels(photo.pixels) - pixels(expected)).mean() <= mean_error


def exif(orientation: int) -> Image.Exif:
    """Build EXIF data with an orientation."""
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = orientation
    return tags
