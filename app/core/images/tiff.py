"""Decoding of TIFF files by Pillow, after their layout is checked.

TIFF is a container for many layouts of samples. Pillow and libtiff decode some of them to wrong
pixels and report others as damaged. `check_tiff_layout` accepts those that are verified against
tifffile (tests/core/images/test_tiff.py) and names every other.
"""

import itertools
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from PIL import ExifTags, TiffImagePlugin
from PIL.TiffImagePlugin import TiffImageFile

from app.core.images.frame import DecodedFrame, open_image, to_frame
from app.core.images.limits import ImageLimits, check_size
from app.core.images.profiles import read_profile
from app.errors import ImageError

# libtiff decodes uncompressed files too: Pillow's own decoder misreads planes of 16 bits and
# subsampled YCbCr.
TiffImagePlugin.READ_LIBTIFF = True

# Pillow knows these layouts in the other byte order only. `to_rgb` inverts where white is zero.
TiffImagePlugin.OPEN_INFO.update(
    {
        (TiffImagePlugin.MM, 0, (1,), 1, (16,), ()): ("I;16B", "I;16B"),
        (TiffImagePlugin.MM, 1, (1,), 1, (12,), ()): ("I;16", "I;12"),
        (TiffImagePlugin.MM, 0, (1,), 1, (12,), ()): ("I;16", "I;12"),
        (TiffImagePlugin.II, 0, (1,), 1, (12,), ()): ("I;16", "I;12"),
    }
)

_ADVICE = "save it as grey or RGB with 8 or 16 bits per channel"
_RAW_ADVICE = "send the photo that the camera or a raw converter makes of it, such as a JPEG"

_SUBFILE_TYPE, _OLD_SUBFILE_TYPE = 254, 255
_WIDTH, _LENGTH, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_FILL_ORDER, _MAKE, _SAMPLES, _PLANES, _PREDICTOR, _SUB_IFDS = 266, 271, 277, 284, 317, 330
_EXTRA_SAMPLES, _SAMPLE_FORMAT, _SUBSAMPLING = 338, 339, 530
_DNG_VERSION = 50706

# The struct codes of integers and bytes, by the type of a tag.
_CODES = {
    1: "B", 2: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q",
    18: "Q",
}  # fmt: skip
_MAX_TAGS, _MAX_VALUES, _MAX_SUB_IFDS = 4096, 64, 16

_WHITE_IS_ZERO, _GREY, _RGB, _PALETTE, _CMYK, _YCBCR, _CIELAB = 0, 1, 2, 3, 5, 6, 8
_COLOURS = {
    _WHITE_IS_ZERO: "grey", _GREY: "grey", _RGB: "RGB", _PALETTE: "palette", _CMYK: "CMYK",
    _YCBCR: "YCbCr", _CIELAB: "CIELAB",
}  # fmt: skip
_COLOUR_CHANNELS = {
    _WHITE_IS_ZERO: 1, _GREY: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4, _YCBCR: 3, _CIELAB: 3,
}  # fmt: skip
_DEPTHS = {
    _WHITE_IS_ZERO: {1, 2, 4, 8, 12, 16},
    _GREY: {1, 2, 4, 8, 12, 16},
    _RGB: {8, 16},
    _PALETTE: {1, 2, 4, 8},
    _CMYK: {8, 16},
    _YCBCR: {8},
    _CIELAB: {8},
}
# The first extra sample is alpha or, like all others, ignored: those that are decoded as they mean.
_UNSPECIFIED, _PREMULTIPLIED, _STRAIGHT, _COREL_ALPHA = 0, 1, 2, 999
_EXTRAS = {
    _GREY: {_UNSPECIFIED, _PREMULTIPLIED, _STRAIGHT},
    _RGB: {_UNSPECIFIED, _PREMULTIPLIED, _STRAIGHT, _COREL_ALPHA},
    _PALETTE: {_UNSPECIFIED, _STRAIGHT},
    _CMYK: {_UNSPECIFIED},
}
_MAX_EXTRAS = {(_GREY, 8): 1, (_RGB, 8): 3, (_RGB, 16): 1, (_PALETTE, 8): 1, (_CMYK, 8): 2}
_SUBSAMPLINGS = {(1, 1), (1, 2), (2, 1), (2, 2), (4, 1), (4, 2)}
_OLD_JPEG = 6
# None, CCITT (2 to 4), LZW, JPEG (6, 7), Deflate (8, 32946), PackBits, LZMA, Zstandard.
_COMPRESSIONS = {1, 2, 3, 4, 5, _OLD_JPEG, 7, 8, 32773, 32946, 34925, 50000}

_RAW_COMPRESSIONS = {32767, 32769, 32770, 34316, 34713, 34892, 65000, 65535}
_COLOUR_FILTER_ARRAY, _LINEAR_RAW = 32803, 34892
_RAW_FORMATS = {
    b"Canon": "CR2", b"FUJI": "RAF", b"Hasselblad": "3FR", b"Leica": "RWL", b"NIKON": "NEF",
    b"OLYMPUS": "ORF", b"Panasonic": "RW2", b"PENTAX": "PEF", b"Phase One": "IIQ",
    b"RICOH": "PEF", b"SAMSUNG": "SRW", b"SONY": "ARW",
}  # fmt: skip

_SAMPLE_FORMATS = {2: "signed", 3: "floating-point", 4: "undefined", 5: "complex", 6: "complex"}
_PHOTOMETRICS = {
    4: "a transparency mask",
    9: "ICCLAB colours",
    10: "ITULAB colours",
    32844: "LogL luminances",
    32845: "LogLuv colours",
    51177: "depths",
}
_COMPRESSION_NAMES = {
    32771: "16-bit padding",
    32809: "ThunderScan",
    34661: "JBIG",
    34676: "SGILog",
    34677: "SGILog24",
    34712: "JPEG 2000",
    33003: "JPEG 2000",
    33004: "JPEG 2000",
    33005: "JPEG 2000",
    34887: "LERC",
    34933: "PNG",
    34934: "JPEG XR",
    22610: "JPEG XR",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}


class TiffEntry(NamedTuple):
    """An entry of an image file directory.

    Args:
        tag: number of the tag.
        kind: type of the values, as in the specification.
        values: number of values.
        at: where the values are, or the offset of the values if they exceed the entry.
    """

    tag: int
    kind: int
    values: int
    at: int


Tags = Mapping[int, Sequence[int]]


def read_tiff(data: bytes, limits: ImageLimits) -> DecodedFrame:
    """Decode the first page of a TIFF.

    Args:
        data: the whole file.
        limits: the maximum number of pixels.

    Raises:
        ImageError: the layout is not supported, or too many pixels.
        Exception: any that Pillow raises for a damaged file.
    """
    check_tiff_layout(data)
    with open_image(data, "TIFF", limits) as image:
        if isinstance(image, TiffImageFile):
            _check_tiles(image, limits)
        return to_frame(image, read_profile(image, data))


def read_entries(data: bytes, at: int | None = None) -> Iterator[TiffEntry]:
    """Yield the entries of an image file directory, lazily.

    Args:
        data: the whole file.
        at: where the directory is; by default the first one.

    Raises:
        struct.error: the directory exceeds the file.
    """
    order, big = _header(data)
    count_code, entry_code = ("Q", "HHQ") if big else ("H", "HHI")
    if at is None:
        (at,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    (entries,) = struct.unpack_from(order + count_code, data, at)
    at += struct.calcsize(order + count_code)
    size = 20 if big else 12
    for place in range(at, at + entries * size, size):
        tag, kind, count = struct.unpack_from(order + entry_code, data, place)
        yield TiffEntry(tag, kind, count, place + size - (8 if big else 4))


def check_tiff_layout(data: bytes) -> None:
    """Check that the first page of a TIFF is a picture whose layout decodes to the right pixels.

    Args:
        data: the whole file. Unreadable directories are ignored: the decoder reports them.

    Raises:
        ImageError: the file is a camera raw file, its first page is a thumbnail, or its samples
            have a layout that is not supported.
    """
    try:
        tags, following = _read_directory(data)
        raw = _camera_raw(data, tags)
        what = _unsupported(data, tags, following)
    except (struct.error, OverflowError):
        return
    if raw:
        raise ImageError(
            "unsupported_format", f"camera raw images ({raw}) are not supported: {_RAW_ADVICE}"
        )
    if what:
        raise ImageError(
            "unsupported_format", f"TIFF images with {what} are not supported: {_ADVICE}"
        )


def _check_tiles(image: TiffImageFile, limits: ImageLimits) -> None:
    """Check the tiles of a TIFF, which are decoded completely even beyond the image's border.

    Args:
        image: the opened file; its pixels are not decoded.
        limits: the maximum number of pixels.

    Raises:
        ImageError: the tiles have too many pixels.
    """
    if ExifTags.Base.TileWidth not in image.tag_v2:
        return
    width, height = (
        int(image.tag_v2.get(tag, 0)) for tag in (ExifTags.Base.TileWidth, ExifTags.Base.TileLength)
    )
    check_size(width, height, limits, "image's tile")
    tiles = math.ceil(image.width / width) * math.ceil(image.height / height)
    if tiles * width * height > 2 * limits.max_pixels:
        raise ImageError(
            "too_many_pixels",
            f"the image's {tiles:,} tiles of {width} x {height} pixels exceed twice the maximum "
            f"of {limits.max_pixels:,} pixels",
        )


def _header(data: bytes) -> tuple[str, bool]:
    """Return the byte order for `struct` and whether offsets have 64 bits (BigTIFF)."""
    return "<" if data.startswith(b"II") else ">", b"+" in data[2:4]


def _read_directory(data: bytes, at: int | None = None) -> tuple[Tags, int]:
    """Return the first values of each tag with integers, and the offset of the next directory."""
    order, big = _header(data)
    offset = order + ("Q" if big else "I")
    room = struct.calcsize(offset)
    tags: dict[int, Sequence[int]] = {}
    end = None
    for entry in itertools.islice(read_entries(data, at), _MAX_TAGS):
        end = entry.at + room
        code = _CODES.get(entry.kind)
        if code is None:
            continue
        start = entry.at
        if entry.values * struct.calcsize(order + code) > room:
            (start,) = struct.unpack_from(offset, data, start)
        with suppress(struct.error):  # the values are outside the file: as if there were no tag
            values = struct.unpack_from(
                f"{order}{min(entry.values, _MAX_VALUES)}{code}", data, start
            )
            if values:
                tags[entry.tag] = values
    return tags, 0 if end is None else struct.unpack_from(offset, data, end)[0]


def _camera_raw(data: bytes, tags: Tags) -> str | None:
    """Return the name of the raw format, or None if the file is not from a camera's sensor."""
    if data[8:10] == b"CR":
        return "CR2"
    if data[8:12] in (b"IIII", b"MMMM"):
        return "IIQ"
    if _DNG_VERSION in tags:
        return "DNG"
    make = bytes(tags.get(_MAKE, ())[:_MAX_VALUES]).lstrip()
    name = next((name for start, name in _RAW_FORMATS.items() if make.startswith(start)), None)
    from_sensor = (
        _first(tags, _PHOTOMETRIC, 0) in (_COLOUR_FILTER_ARRAY, _LINEAR_RAW)
        or _first(tags, _COMPRESSION, 1) in _RAW_COMPRESSIONS
    )
    if from_sensor:
        return name or "of a camera's sensor"
    return name if _has_larger_picture(data, tags) else None


def _has_larger_picture(data: bytes, tags: Tags) -> bool:
    """Return whether a subdirectory has a picture of which the first page is a thumbnail.

    A pyramid has the largest picture first, and the reduced ones in its subdirectories.
    """
    size = _first(tags, _WIDTH, 0) * _first(tags, _LENGTH, 0)
    for at in tags.get(_SUB_IFDS, ())[:_MAX_SUB_IFDS]:
        with suppress(struct.error, OverflowError):
            sub, _ = _read_directory(data, at)
            if _first(sub, _WIDTH, 0) * _first(sub, _LENGTH, 0) > size:
                return True
    return _SUB_IFDS in tags and _is_thumbnail(tags)


def _is_thumbnail(tags: Tags) -> bool:
    return bool(_first(tags, _SUBFILE_TYPE, 0) & 1) or _first(tags, _OLD_SUBFILE_TYPE, 1) == 2


def _unsupported(data: bytes, tags: Tags, following: int) -> str | None:
    """Return what prevents a TIFF from being decoded to the right pixels, or None."""
    if _has_larger_picture(data, tags) or (following and _is_thumbnail(tags)):
        return "a thumbnail as their first page"
    if data.startswith(b"MM\x00+"):  # Pillow reads these as if offsets had 32 bits
        return "big-endian 64-bit offsets (BigTIFF)"
    compression = _first(tags, _COMPRESSION, 1)
    if compression not in _COMPRESSIONS:
        return f"{_COMPRESSION_NAMES.get(compression, f'unknown ({compression})')} compression"
    samples = _first(tags, _SAMPLES, 3 if compression == _OLD_JPEG else 1)
    bits = tuple(tags.get(_BITS, (1,)))
    bits = (bits if len(bits) > 1 else bits * min(samples, _MAX_VALUES))[:samples]
    formats = set(tags.get(_SAMPLE_FORMAT, (1,))) - {1}
    if formats:
        kind = _SAMPLE_FORMATS.get(min(formats), "unknown")
        return f"{kind} {max(bits, default=0)}-bit samples"
    photometric = _YCBCR if compression == _OLD_JPEG else _first(tags, _PHOTOMETRIC, 0)
    if photometric not in _COLOUR_CHANNELS:
        return _PHOTOMETRICS.get(photometric, f"unknown colours ({photometric})")
    return _unsupported_samples(tags, photometric, samples, bits)


def _unsupported_samples(
    tags: Tags, photometric: int, samples: int, bits: tuple[int, ...]
) -> str | None:
    """Return what is not supported of the samples of known colours, or None."""
    extra = tuple(tags.get(_EXTRA_SAMPLES, ()))
    grey_ycbcr = photometric == _YCBCR and samples == 1
    channels = 1 if grey_ycbcr else _COLOUR_CHANNELS[photometric]
    if photometric == _RGB and samples == 4 and not extra:
        extra = (_STRAIGHT,)  # as Pillow and many editors take it
    if len(set(bits)) > 1:
        return f"samples of different depths ({', '.join(map(str, bits))} bits)"
    depth = bits[0] if bits else 0
    if depth not in _DEPTHS[photometric]:
        return f"{depth}-bit {_COLOURS[photometric]} samples"
    if samples != channels + len(extra) or not _reads_extra(photometric, depth, extra):
        return f"{samples} {depth}-bit channels ({_COLOURS[photometric]})"
    planar = _first(tags, _PLANES, 1) == 2 and samples > 1
    if planar and (photometric not in (_RGB, _CMYK) or len(extra) > 1):
        return f"separate planes of {samples} channels ({_COLOURS[photometric]})"
    reversible = photometric in (_WHITE_IS_ZERO, _GREY, _RGB, _PALETTE) and depth <= 8
    if _first(tags, _FILL_ORDER, 1) != 1 and (not reversible or extra or planar):
        return "reversed bits"
    if _first(tags, _PREDICTOR, 1) not in (1, 2):
        return "a predictor for floating-point samples"
    subsampling = tuple(tags.get(_SUBSAMPLING, (2, 2)))
    if photometric == _YCBCR and samples > 1 and subsampling not in _SUBSAMPLINGS:
        return f"YCbCr subsampling of {' x '.join(map(str, subsampling))}"
    return None


def _reads_extra(photometric: int, depth: int, extra: tuple[int, ...]) -> bool:
    """Return whether the extra samples of a pixel are decoded as alpha or ignored, as they mean."""
    if not extra:
        return True
    first, *others = extra
    return (
        len(extra) <= _MAX_EXTRAS.get((photometric, depth), 0)
        and first in _EXTRAS[photometric]
        and not any(others)
    )


def _first(tags: Tags, tag: int, default: int) -> int:
    return tags.get(tag, (default,))[0]
