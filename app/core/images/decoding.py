"""The bytes of one photo -> upright RGB pixels; every limit on size and format lives here.

Pillow reads headers and decodes all but ordinary JPEGs; this module decides what decoders may be
given, and turns whatever they raise on hostile bytes into an `ImageError`. All functions are pure
and safe to call from many threads.
Colour profiles are not applied: pixels are taken as sRGB, as CLIP's own preprocessing does.
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
from app.core.images.structure import has_too_many_pieces
from app.errors import ImageError

Samples = npt.NDArray[np.uint8]

# Pillow's own limit is one global number that warns at N and raises at 2N; ours is a setting,
# checked in `decode` before any pixel is decoded.
Image.MAX_IMAGE_PIXELS = None

# Pillow warns, and for one TIFF tag logs an error, where metadata is odd. That is the sender's
# business, not the operator's. Set once: changing filters around each call is not thread-safe.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)

# Resampling allocates in proportion to the longest side, and rows have pointers: a picture of
# 1 x 50,000,000 pixels would cost gigabytes within the pixel limit. JPEG's own limit is this one.
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

# round(value / 257), the 16-bit sample scaled to 8 bits; Pillow's own conversion clips at 255.
_TO_8_BITS = ((np.arange(65_536) + 128) // 257).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What one image may cost.

    Args:
        max_bytes: most bytes of the file.
        max_pixels: most pixels, width times height, as the file's header gives them.
    """

    max_bytes: int = 20 * 2**20
    max_pixels: int = 50_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """A decoded photo.

    Args:
        pixels: uint8 (H, W, 3) RGB, upright; it may be smaller than the photo (see `decode`).
        width: of the photo itself after EXIF orientation, in pixels.
        height: of the photo itself after EXIF orientation, in pixels.
        source: what the bytes were and how they were decoded: `PNG`, `JPEG`, or `JPEG/4`, `JPEG/8`
            where a fraction of its size was enough.
    """

    pixels: Samples
    width: int
    height: int
    source: str


def decode(
    data: bytes, limits: ImageLimits, *, min_side_px: int, exif_orientation: bool = True
) -> Photo:
    """Decodes the first frame of an image file, whatever its colour mode, to upright RGB.

    Transparency is laid over white; 16-bit samples are scaled to 8 bits. A JPEG may be decoded
    at a quarter or an eighth of its size, which is faster and needs less memory, as long as both
    sides keep `min_side_px` pixels.

    Args:
        data: the whole file.
        limits: most bytes and pixels; both are checked before pixels are decoded.
        min_side_px: the shortest side that a JPEG may be scaled down to. At least twice what it
            is resized to afterwards keeps the difference to a full decode small.
        exif_orientation: whether to turn the photo as its EXIF says. A TIFF's orientation is
            always applied, as is usual for that format.

    Returns:
        The photo.

    Raises:
        ImageError: the bytes are empty, too many, not an image, of an unsupported format,
            corrupt or truncated, or hold too many pixels.
    """
    if not data:
        raise ImageError("empty", f"the image has no bytes: {ADVICE}")
    if len(data) > limits.max_bytes:
        raise ImageError(
            "too_many_bytes",
            f"the image has {len(data):,} bytes; at most {limits.max_bytes:,} are allowed",
        )
    image_format = identify(data)
    if has_too_many_pieces(data, image_format):
        raise ImageError("corrupt", f"the {image_format} image is in too many pieces: save it anew")
    try:
        frame, (width, height), scale, orientation = _read(data, image_format, limits, min_side_px)
        pixels = np.array(frame) if isinstance(frame, Image.Image) else frame
        del frame  # of Pillow's it has four bytes a pixel
    except ImageError:
        raise
    # Decoders of hostile bytes raise anything: OSError, SyntaxError, struct.error, MemoryError.
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
    """The first frame in RGB, the photo's own size, its scale and its orientation.

    What the decoder holds, for some formats three times the picture, goes with this function.
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
    """A TIFF's tiles are decoded whole, however far they reach beyond the picture."""
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
            f"the image's {tiles:,} tiles of {width} x {height} pixels are twice as many as "
            "an image may have, or more",
        )


def _check_coding(image: ImageFile.ImageFile, data: bytes) -> None:
    """What takes far longer than other files of as many pixels."""
    if isinstance(image, JpegImageFile) and has_too_many_scans(data, image.width * image.height):
        raise ImageError("corrupt", "the JPEG image has too many scans for its size: save it anew")
    if image.tile and image.tile[0].codec_name == "bmp_rle":  # read in Python, pixel by pixel
        raise ImageError(
            "unsupported_format", f"run-length coded BMP images are not supported: {ADVICE}"
        )


def _corrupt(image_format: str, error: Exception) -> ImageError:
    cut_short = isinstance(error, EOFError) or "truncated" in str(error).lower()
    what = "truncated" if cut_short else "damaged or truncated"
    return ImageError("corrupt", f"the {image_format} image is {what}: send the whole file again")


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where EXIF is missing or broken, as browsers do."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return 1


def _scale_transparent_colour(image: ImageFile.ImageFile) -> None:
    """Brings a PNG's transparent colour to 8 bits, where Pillow does so only to the pixels."""
    colour = image.info.get("transparency")
    if image.format != "PNG" or colour is None:
        return
    scale = {"L;2": 85, "L;4": 17, "RGB;16B": 1 / 256}.get(str(image.tile[0].args), 1)
    if isinstance(colour, tuple):
        image.info["transparency"] = tuple(int(sample * scale) for sample in colour)
    elif isinstance(colour, int):
        image.info["transparency"] = int(colour * scale)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Returns a copy in mode RGB: 16 bits scaled to 8, transparency over white."""
    if image.mode in ("I", "F"):
        raise ImageError(
            "unsupported_format",
            "samples that are signed, floating-point or of 32 bits have no defined brightness: "
            "send 8 or 16 bits a channel",
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
