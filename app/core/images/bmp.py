"""Decoding of BMP files by Pillow, with checks and corrections of what it misreads."""

import struct

import numpy as np
from PIL import Image

from app.core.images.frame import DecodedFrame, open_image, to_frame
from app.core.images.limits import ImageLimits, check_size
from app.core.images.profiles import read_profile
from app.errors import ImageError

_ADVICE = "save it as 24-bit RGB, or as PNG"

_HEADER_AT, _MASKS_AT = 14, 54
_CORE_HEADER, _OS2_HEADER = 12, 64
_HEADERS = {_CORE_HEADER, 40, 52, 56, _OS2_HEADER, 108, 124}
_HEADERS_WITH_ALPHA = {56, 108, 124}
_DEPTHS = {1, 4, 8, 16, 24, 32}
_UNCOMPRESSED, _BIT_FIELDS = 0, 3
_COMPRESSIONS = {1: "run-length coding", 2: "run-length coding", 4: "a JPEG", 5: "a PNG"}
_OS2_COMPRESSIONS = {1: "run-length coding", 2: "run-length coding", 4: "run-length coding"}

_ARGB = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
# Masks of red, green, blue and alpha that Pillow knows, by bits per pixel.
_MASKS = {
    16: {(0xF800, 0x7E0, 0x1F, 0), (0x7C00, 0x3E0, 0x1F, 0)},
    24: {(0xFF0000, 0xFF00, 0xFF, 0)},
    32: {
        (0xFF0000, 0xFF00, 0xFF, 0),
        (0xFF000000, 0xFF0000, 0xFF00, 0),
        (0xFF000000, 0xFF00, 0xFF, 0),
        (0xFF000000, 0xFF0000, 0xFF00, 0xFF),
        (0xFF, 0xFF00, 0xFF0000, 0xFF000000),
        _ARGB,
        (0xFF000000, 0xFF00, 0xFF, 0xFF0000),
    },
}


def read_bmp(data: bytes, limits: ImageLimits) -> DecodedFrame:
    """Decode a BMP.

    Args:
        data: the whole file.
        limits: the maximum number of pixels.

    Raises:
        ImageError: the layout is not supported, or too many pixels.
        Exception: any that Pillow raises for a damaged file.
    """
    _check_layout(data)
    repaired = _repair_masks(_repair_grey_palette(data), limits)
    with open_image(repaired, "BMP", limits) as image:
        image.load()
        _ignore_empty_alpha(image)
        return to_frame(image, read_profile(image, data))


def _check_layout(data: bytes) -> None:
    """Check that the pixels of a BMP have a layout that is decoded.

    Args:
        data: the whole file. An incomplete header is ignored: the decoder reports it.

    Raises:
        ImageError: the layout is not supported; run-length coding is not, since Pillow decodes it
            in Python.
    """
    try:
        what = _unsupported(data)
    except struct.error:
        return
    if what:
        raise ImageError(
            "unsupported_format", f"BMP images with {what} are not supported: {_ADVICE}"
        )


def _repair_grey_palette(data: bytes) -> bytes:
    """Change a palette that Pillow would take for grey samples of 8 bits or of 1 bit.

    Pillow ignores the palette of a BMP whose first colours are grey, and with it that the indices
    have 4 bits, or that they have 8 for black and white. A first colour that differs by 1 of 255
    keeps the palette.

    Args:
        data: the whole file.
    """
    header, bits, _ = _read_header(data)
    colours = 2**bits if header == _CORE_HEADER else struct.unpack_from("<I", data, 46)[0]
    start = _HEADER_AT + header
    misread = bits == 4 or (bits == 8 and colours == 2)
    if not misread or data[start : start + 3] != bytes(3):
        return data
    return data[:start] + b"\x01" + data[start + 1 :]


def _repair_masks(data: bytes, limits: ImageLimits) -> bytes:
    """Move channels at masks that Pillow does not know to 8 bits each, at masks that it knows.

    Args:
        data: the whole file.
        limits: the maximum number of pixels.

    Raises:
        ImageError: too many pixels.
        ValueError: the pixels are truncated.
    """
    header, bits, compression = _read_header(data)
    if compression != _BIT_FIELDS or (masks := _read_masks(data, header)) in _MASKS[bits]:
        return data
    start, width, height = struct.unpack_from("<I4xii", data, 10)
    check_size(width, abs(height), limits)
    row_words = -(-width * bits // 32) * 32 // bits
    words = np.frombuffer(data, f"<u{bits // 8}", row_words * abs(height), start)
    words = words.reshape(abs(height), row_words)[:, :width]
    samples = np.zeros((*words.shape, 4), dtype=np.uint8)
    for channel, mask in zip((2, 1, 0, 3), masks, strict=True):
        if mask:
            shift = _lowest_bit(mask)
            most = mask >> shift
            values = (words & mask).astype(np.uint64) >> shift
            samples[..., channel] = (values * 255 + most // 2) // most
    head = bytearray(data[:start])
    struct.pack_into("<H", head, 28, 32)
    struct.pack_into("<III", head, _MASKS_AT, *_ARGB[:3])
    if header in _HEADERS_WITH_ALPHA:
        struct.pack_into("<I", head, _MASKS_AT + 12, _ARGB[3] if masks[3] else 0)
    return bytes(head) + samples.tobytes()


def _ignore_empty_alpha(image: Image.Image) -> None:
    """Make a decoded BMP opaque if it is transparent everywhere.

    Windows' clipboard, Photoshop and capture tools leave the alpha of an opaque picture at zero,
    and Windows, Photoshop and OpenCV show it.
    """
    if image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0):
        image.putalpha(255)


def _read_header(data: bytes) -> tuple[int, int, int]:
    """Return the length of the header, the bits per pixel and the compression."""
    (header,) = struct.unpack_from("<I", data, _HEADER_AT)
    if header == _CORE_HEADER:
        return header, struct.unpack_from("<H", data, 24)[0], _UNCOMPRESSED
    return header, *struct.unpack_from("<HI", data, 28)


def _read_masks(data: bytes, header: int) -> tuple[int, ...]:
    """Return the masks of red, green, blue and alpha."""
    alpha = header in _HEADERS_WITH_ALPHA
    masks = struct.unpack_from("<IIII" if alpha else "<III", data, _MASKS_AT)
    return masks if alpha else (*masks, 0)


def _lowest_bit(mask: int) -> int:
    return (mask & -mask).bit_length() - 1


def _is_contiguous(mask: int) -> bool:
    filled = mask | (mask & -mask) - 1
    return filled & (filled + 1) == 0


def _unsupported(data: bytes) -> str | None:
    """Return what prevents a BMP from being decoded to the right pixels, or None."""
    header, bits, compression = _read_header(data)
    if header not in _HEADERS:
        return f"a header of {header} bytes"
    if bits not in _DEPTHS:
        return f"{bits} bits per pixel"
    if compression == _UNCOMPRESSED:
        return None
    if header == _OS2_HEADER or compression != _BIT_FIELDS:
        names = _OS2_COMPRESSIONS if header == _OS2_HEADER else _COMPRESSIONS
        return names.get(compression, f"compression {compression}")
    masks = _read_masks(data, header)
    fit = bits in _MASKS and all(_is_contiguous(mask) and mask < 2**bits for mask in masks)
    if masks not in _MASKS.get(bits, set()) and (bits == 24 or not fit):
        return f"the channel masks {', '.join(f'{mask:#x}' for mask in masks)}"
    return None
