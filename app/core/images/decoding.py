"""Image decoding: from the bytes of a file to upright RGB pixels, with all size and format limits.

Pillow reads headers and decodes all images except ordinary JPEGs. This module checks limits before
decoding and converts every error of a decoder to `ImageError`. All functions are pure and
thread-safe. Colour profiles are ignored: pixels are treated as sRGB, as in CLIP's preprocessing.
"""

import io
import logging
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from app.core.images.formats import ADVICE, identify
from app.core.images.jpeg import decode_jpeg, has_too_many_scans
from app.core.images.structure import has_too_many_structural_elements
from app.errors import ImageError

Samples = npt.NDArray[np.uint8]

# Pillow's limit is a global number that warns at N and raises at 2N. The limit here is a setting
# that `decode` checks before pixels are decoded.
Image.MAX_IMAGE_PIXELS = None

# Pillow warns, and for one TIFF tag logs an error, about invalid metadata, which an operator cannot
# fix. Set once for the process, since changing filters around each call is not thread-safe.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)

# Resampling allocates in proportion to the longest side, and Pillow keeps a pointer per row: an
# image of 1 x 50,000,000 pixels would need gigabytes despite the pixel limit. JPEG has this limit.
MAX_SIDE_PX = 65_535

_UPRIGHT: dict[int, Callable[[Samples], Samples]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}
_SIDEWAYS = {5, 6, 7, 8}

# round(value / 257) scales a 16-bit sample to 8 bits; Pillow's conversion clips at 255.
_TO_8_BITS = ((np.arange(65_536) + 128) // 257).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """Size limits of one image.

    Args:
        max_bytes: maximum bytes of the file.
        max_pixels: maximum pixels, width times height, according to the header of the file.
    """

    max_bytes: int = 20 * 2**20
    max_pixels: int = 50_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """A decoded image.

    Args:
        pixels: uint8 (H, W, 3) RGB, upright; can be smaller than the original (see `decode`).
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
    """Decode the first frame of an image file to upright RGB.

    Transparency is composited over white, and 16-bit samples are scaled to 8 bits. A JPEG is
    decoded at 1/4 or 1/8 of its size if both sides keep `min_side_px` pixels, which is faster and
    needs less memory.

    Args:
        data: the whole file.
        limits: maximum bytes and pixels; both are checked before pixels are decoded.
        min_side_px: minimum side of a scaled JPEG. With at least twice the side of the following
            resize, the difference to a full decode is small.
        exif_orientation: whether to apply the EXIF orientation. The orientation of a TIFF is always
            applied, as is usual for that format.

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
            f"the {image_format} image has too many chunks, segments or tiles: save it again",
        )
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
    if exif_orientation and orientation in _UPRIGHT:
        pixels = np.ascontiguousarray(_UPRIGHT[orientation](pixels))
        if orientation in _SIDEWAYS:
            width, height = height, width
    return Photo(pixels, width, height, source)


def _read(
    data: bytes, image_format: str, limits: ImageLimits, min_side_px: int
) -> tuple[Samples | Image.Image, tuple[int, int], int, int]:
    """Return the first frame in RGB, the original size, the scale and the EXIF orientation.

    The memory of the decoder, for some formats three times that of the image, is freed on return.
    """
    with Image.open(io.BytesIO(data), formats=[image_format]) as image:
        size = image.size
        _check_size(*size, limits)
        _check_tiles(image, limits)
        _check_coding(image, data)
        if image_format == "JPEG" and image.mode in ("L", "RGB"):
            found = decode_jpeg(data, *size, min_side_px)
            if found is not None:
                return found[0], size, found[1], _orientation(image)
        _scale_transparent_colour(image)
        image.load()
        return _to_rgb(image), size, 1, _orientation(image)


def _check_size(width: int, height: int, limits: ImageLimits, what: str = "image") -> None:
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


def _check_tiles(image: ImageFile.ImageFile, limits: ImageLimits) -> None:
    """Check the tiles of a TIFF, which are decoded completely even beyond the image's border."""
    if not isinstance(image, TiffImageFile) or ExifTags.Base.TileWidth not in image.tag_v2:
        return
    width, height = (
        int(image.tag_v2.get(tag, 0)) for tag in (ExifTags.Base.TileWidth, ExifTags.Base.TileLength)
    )
    _check_size(width, height, limits, "image's tile")
    tiles = math.ceil(image.width / width) * math.ceil(image.height / height)
    if tiles * width * height > 2 * limits.max_pixels:
        raise ImageError(
            "too_many_pixels",
            f"the image's {tiles:,} tiles of {width} x {height} pixels exceed twice the maximum "
            f"of {limits.max_pixels:,} pixels",
        )


def _check_coding(image: ImageFile.ImageFile, data: bytes) -> None:
    """Reject encodings that take far longer to decode than other files of the same size."""
    if isinstance(image, JpegImageFile) and has_too_many_scans(data, image.width * image.height):
        raise ImageError("corrupt", "the JPEG image has too many scans for its size: save it again")
    if image.tile and image.tile[0].codec_name == "bmp_rle":  # Pillow decodes it in Python
        raise ImageError(
            "unsupported_format", f"run-length coded BMP images are not supported: {ADVICE}"
        )


def _corrupt(image_format: str, error: Exception) -> ImageError:
    cut_short = isinstance(error, EOFError) or "truncated" in str(error).lower()
    what = "truncated" if cut_short else "damaged or truncated"
    return ImageError("corrupt", f"the {image_format} image is {what}: send the whole file again")


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 if EXIF is missing or invalid, as in browsers."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return 1


def _scale_transparent_colour(image: ImageFile.ImageFile) -> None:
    """Scale the transparent colour of a PNG to 8 bits; Pillow scales only the pixels."""
    colour = image.info.get("transparency")
    if image.format != "PNG" or colour is None:
        return
    scale = {"L;2": 85, "L;4": 17, "RGB;16B": 1 / 256}.get(str(image.tile[0].args), 1)
    if isinstance(colour, tuple):
        image.info["transparency"] = tuple(int(sample * scale) for sample in colour)
    elif isinstance(colour, int):
        image.info["transparency"] = int(colour * scale)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert to mode RGB: 16 bits scaled to 8, transparency composited over white."""
    if image.mode in ("I", "F"):
        raise ImageError(
            "unsupported_format",
            "signed, floating-point and 32-bit samples have no defined brightness: "
            "send 8 or 16 bits per channel",
        )
    if image.mode.startswith("I;16"):
        return _grey_16_to_rgb(image)
    if image.mode == "La":
        image = image.convert("LA")
    if "transparency" not in image.info and image.mode not in ("LA", "PA", "RGBA", "RGBa"):
        return image.convert("RGB")
    foreground = image if image.mode == "RGBA" else image.convert("RGBA")
    background = Image.new("RGB", image.size, "white")
    background.paste(foreground, mask=foreground)
    return background


def _grey_16_to_rgb(image: Image.Image) -> Image.Image:
    samples = np.asarray(image)
    if isinstance(image, TiffImageFile):  # Pillow neither widens 12 bits nor inverts 16
        if image.tag_v2.get(ExifTags.Base.BitsPerSample) == (12,):
            samples = samples << 4
        if image.tag_v2.get(ExifTags.Base.PhotometricInterpretation) == 0:
            samples = 65_535 - samples
    grey = _TO_8_BITS[samples]
    if "transparency" in image.info:
        grey[samples == image.info["transparency"]] = 255
    return Image.fromarray(grey).convert("RGB")
