"""Image decoding: from the bytes of a file to upright sRGB pixels, with all size and format limits.

This module checks the file and its format, calls the reader of the format, converts every error of
a decoder to `ImageError` and applies the orientation. All functions are pure and thread-safe.
"""

import logging
import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from app.core.images.bmp import read_bmp
from app.core.images.formats import ADVICE, display_name, identify
from app.core.images.frame import DecodedFrame, read_default
from app.core.images.gif import read_gif
from app.core.images.heif import read_heif
from app.core.images.jpeg import read_jpeg
from app.core.images.jxl import read_jxl
from app.core.images.limits import ImageLimits
from app.core.images.orientation import is_sideways, turn_upright
from app.core.images.png import read_png
from app.core.images.structure import has_too_many_structural_elements
from app.core.images.tiff import read_tiff
from app.errors import ImageError

Samples = npt.NDArray[np.uint8]

# What the formats need around their decoder. Each reader checks the size before pixels are decoded.
_READERS = {
    "BMP": read_bmp,
    "GIF": read_gif,
    "HEIF": read_heif,
    "JXL": read_jxl,
    "PNG": read_png,
    "TIFF": read_tiff,
}

# Pillow's limit is a global number that warns at N and raises at 2N. The limit here is a setting
# that `decode` checks before pixels are decoded.
Image.MAX_IMAGE_PIXELS = None

# Pillow warns, and for one TIFF tag logs an error, about invalid metadata, which an operator cannot
# fix. Set once for the process, since changing filters around each call is not thread-safe.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """A decoded image.

    Args:
        pixels: uint8 (H, W, 3) sRGB, upright; can be smaller than the original (see `decode`).
        width: of the original after EXIF orientation, in pixels.
        height: of the original after EXIF orientation, in pixels.
        source: format and scale of the decoding: `PNG`, `JPEG`, or `JPEG/4` and `JPEG/8` for a JPEG
            decoded at a fraction of its size.
    """

    pixels: Samples
    width: int
    height: int
    source: str


def decode(
    data: bytes, limits: ImageLimits, *, min_side_px: int, exif_orientation: bool = True
) -> Photo:
    """Decode the first frame of an image file to upright sRGB.

    Colours are converted by the file's colour profile (app/core/images/colour.py). Transparency is
    composited over white, and 16-bit samples are scaled to 8 bits. A JPEG is decoded at 1/4 or 1/8
    of its size if both sides keep `min_side_px` pixels, which is faster and needs less memory.

    Args:
        data: the whole file.
        limits: maximum bytes and pixels; both are checked before pixels are decoded. A baseline
            JPEG that is decoded at 1/4 or 1/8 can have `MAX_PIXELS_FACTOR` times as many pixels.
        min_side_px: minimum side of a scaled JPEG. With at least twice the side of the following
            resize, the difference to a full decode is small.
        exif_orientation: whether to apply the EXIF orientation. The orientation of a TIFF, HEIC or
            JPEG XL is always applied, as is usual for these formats.

    Raises:
        ImageError: the bytes are empty, too many, not an image, of an unsupported format,
            corrupt or truncated, or have too many pixels.
    """
    if not data:
        raise ImageError("empty", f"the image has no bytes: {ADVICE}")
    if len(data) > limits.max_bytes:
        raise ImageError(
            "too_many_bytes",
            f"the image has {len(data):,} bytes; at most {limits.max_bytes:,} are allowed",
        )
    image_format = identify(data)
    if has_too_many_structural_elements(data, image_format):
        raise ImageError(
            "corrupt",
            f"the {display_name(image_format)} image has too many chunks, segments or tiles: "
            "save it again",
        )
    try:
        frame = _read(data, image_format, limits, min_side_px)
        pixels, (width, height), orientation = frame.pixels, frame.size, frame.orientation
        source = image_format if frame.scale == 1 else f"{image_format}/{frame.scale}"
        del frame  # a Pillow image has four bytes per pixel
        if isinstance(pixels, Image.Image):
            pixels = np.array(pixels)
    except ImageError:
        raise
    # With malicious bytes, decoders raise OSError, SyntaxError, struct.error, MemoryError and more.
    except Exception as error:
        raise _corrupt(image_format, error) from error
    if exif_orientation:
        pixels = turn_upright(pixels, orientation)
        if is_sideways(orientation):
            width, height = height, width
    return Photo(pixels, width, height, source)


def _read(data: bytes, image_format: str, limits: ImageLimits, min_side_px: int) -> DecodedFrame:
    """Decode the first frame. The memory of the decoder is freed on return."""
    if image_format == "JPEG":  # the one format that can be decoded at a fraction of its size
        return read_jpeg(data, limits, min_side_px)
    if reader := _READERS.get(image_format):
        return reader(data, limits)
    return read_default(data, image_format, limits)


def _corrupt(image_format: str, error: Exception) -> ImageError:
    cut_short = isinstance(error, EOFError) or "truncated" in str(error).lower()
    what = "truncated" if cut_short else "damaged or truncated"
    return ImageError(
        "corrupt", f"the {display_name(image_format)} image is {what}: send the whole file again"
    )
