"""Image decoding: from the bytes of a file to upright sRGB pixels, with all size and format limits.

Pillow reads headers and decodes all images except ordinary JPEGs. This module checks limits before
decoding and converts every error of a decoder to `ImageError`. All functions are pure and
thread-safe. Colours are converted to sRGB.
"""

import io
import logging
import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from app.core.images.bmp import check_bmp_layout, ignore_empty_alpha, repair_grey_palette
from app.core.images.colour import convert_samples, find_transform
from app.core.images.conversion import scale_transparent_colour, to_rgb
from app.core.images.formats import ADVICE, display_name, identify
from app.core.images.gif import clear_outside_frame
from app.core.images.heif import open_heif
from app.core.images.jpeg import add_missing_end, choose_scale, decode_jpeg, has_too_many_scans
from app.core.images.jpeg_header import read_frame, strip_segments
from app.core.images.jxl import open_jxl
from app.core.images.limits import ImageLimits, check_size
from app.core.images.orientation import ignore_xmp, is_sideways, read_orientation, turn_upright
from app.core.images.png import strip_chunks
from app.core.images.profiles import read_profile
from app.core.images.structure import has_too_many_structural_elements
from app.core.images.tiff import check_tiff_layout, check_tiff_tiles
from app.errors import ImageError

Samples = npt.NDArray[np.uint8]

# Decoders of formats that Pillow does not read. They check the size and apply the orientation.
_OPENERS = {"HEIF": open_heif, "JXL": open_jxl}

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
    if image_format == "TIFF":
        check_tiff_layout(data)
    if image_format == "BMP":
        check_bmp_layout(data)
    try:
        frame, (width, height), scale, orientation = _read(data, image_format, limits, min_side_px)
        pixels = np.array(frame) if isinstance(frame, Image.Image) else frame
        del frame  # a Pillow image has four bytes per pixel
    except ImageError:
        raise
    # With malicious bytes, decoders raise OSError, SyntaxError, struct.error, MemoryError and more.
    except Exception as error:
        raise _corrupt(image_format, error) from error
    source = image_format if scale == 1 else f"{image_format}/{scale}"
    if exif_orientation:
        pixels = turn_upright(pixels, orientation)
        if is_sideways(orientation):
            width, height = height, width
    return Photo(pixels, width, height, source)


def _read(
    data: bytes, image_format: str, limits: ImageLimits, min_side_px: int
) -> tuple[Samples | Image.Image, tuple[int, int], int, int]:
    """Return the first frame in RGB, the original size, the scale and the EXIF orientation.

    The memory of the decoder, for some formats three times that of the image, is freed on return.
    """
    if image_format == "JPEG":
        return _read_jpeg(data, limits, min_side_px)
    if image_format in _OPENERS:
        with _OPENERS[image_format](data, limits) as image:
            return to_rgb(image, read_profile(image, data)), image.size, 1, 1
    embedded = None
    if image_format == "PNG":
        data, embedded = strip_chunks(data)
    if image_format == "BMP":
        data = repair_grey_palette(data)
    with Image.open(io.BytesIO(data), formats=[image_format]) as image:
        ignore_xmp(image)
        if embedded is not None:
            image.info["icc_profile"] = embedded
        size = image.size
        check_size(*size, limits)
        if isinstance(image, TiffImageFile):
            check_tiff_tiles(image, limits)
        profile = read_profile(image, data)
        scale_transparent_colour(image)
        frame = image.tile[0].extents if image_format == "GIF" else None
        image.load()
        if image_format == "BMP":
            ignore_empty_alpha(image)
        rgb = to_rgb(image, profile)
        if frame is not None:
            rgb = clear_outside_frame(rgb, frame)
        return rgb, size, 1, read_orientation(image)


def _read_jpeg(
    data: bytes, limits: ImageLimits, min_side_px: int
) -> tuple[Samples | Image.Image, tuple[int, int], int, int]:
    """Return what `_read` returns. Pillow decodes what libjpeg-turbo's simple interface refuses."""
    frame = read_frame(data)
    with _open_jpeg(data) as image:
        ignore_xmp(image)
        width, height = size = image.size
        scale = choose_scale(frame, width, height, min_side_px)
        check_size(width, height, limits, reduced=frame.one_pass and scale > 1)
        if not frame.one_pass and has_too_many_scans(data, width * height):
            raise ImageError(
                "corrupt", "the JPEG image has too many scans for its size: save it again"
            )
        profile, orientation = read_profile(image, data), read_orientation(image)
        if image.mode in ("L", "RGB"):
            pixels = decode_jpeg(data, width, height, scale)
            if pixels is not None:
                if (transform := find_transform(profile, image.mode)) is not None:
                    convert_samples(pixels, transform)
                return pixels, size, scale, orientation
        whole = add_missing_end(data, frame)
        if whole is not data:
            return _read_jpeg(whole, limits, min_side_px)
        image.draft(None, (width // scale, height // scale))
        image.load()
        return to_rgb(image, profile), size, scale, orientation


def _open_jpeg(data: bytes) -> ImageFile.ImageFile:
    try:
        return Image.open(io.BytesIO(data), formats=["JPEG"])
    except UnidentifiedImageError:
        return Image.open(io.BytesIO(strip_segments(data)), formats=["JPEG"])


def _corrupt(image_format: str, error: Exception) -> ImageError:
    cut_short = isinstance(error, EOFError) or "truncated" in str(error).lower()
    what = "truncated" if cut_short else "damaged or truncated"
    return ImageError(
        "corrupt", f"the {display_name(image_format)} image is {what}: send the whole file again"
    )
