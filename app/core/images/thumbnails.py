"""Small copies of photos for HTML pages."""

import base64
import io
import sys

from PIL import Image

from app.core.images.decoding import decode
from app.core.images.limits import ImageLimits

JPEG_QUALITY = 80
WEBP_QUALITY = 60
UNLIMITED = ImageLimits(max_bytes=sys.maxsize, max_pixels=sys.maxsize)


def thumbnail_url(data: bytes, side_px: int) -> str:
    """Return a small JPEG copy of a photo as a data URL.

    Args:
        data: the whole image file, which was decoded before.
        side_px: longer side of the copy at most.

    Raises:
        ImageError: the image cannot be decoded.
    """
    copy = _small_copy(data, side_px, "JPEG", JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(copy).decode()}"


def thumbnail_webp(data: bytes, side_px: int) -> bytes:
    """Return a small copy of a photo as a WebP, which has half the bytes of a JPEG.

    Args:
        data: the whole image file, which was decoded before.
        side_px: longer side of the copy at most.

    Raises:
        ImageError: the image cannot be decoded.
    """
    return _small_copy(data, side_px, "WEBP", WEBP_QUALITY)


def _small_copy(data: bytes, side_px: int, image_format: str, quality: int) -> bytes:
    photo = decode(data, UNLIMITED, min_side_px=side_px)
    image = Image.fromarray(photo.pixels)
    image.thumbnail((side_px, side_px))
    buffer = io.BytesIO()
    image.save(buffer, image_format, quality=quality)
    return buffer.getvalue()
