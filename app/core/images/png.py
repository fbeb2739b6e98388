"""Decoding of PNG files by Pillow, without the chunks that do not affect pixels.

Pillow verifies, decompresses and keeps every chunk, and rejects the file for one that is large or
damaged. The specification lets decoders ignore such chunks, and browsers do.
"""

import zlib
from collections.abc import Iterator

from PIL import ImageFile

from app.core.images.colour import MAX_PROFILE_BYTES
from app.core.images.frame import DecodedFrame, open_image, to_frame
from app.core.images.limits import ImageLimits
from app.core.images.profiles import read_profile
from app.errors import ImageError

_FIRST_CHUNK, _COLOUR_TYPE = 8, 25  # offsets
# Ancillary chunks that are kept, and their length in bytes; None for a variable length.
_KEPT = {b"eXIf": None, b"tRNS": None, b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"cICP": 4}
_AFTER_PIXELS = {b"IDAT", b"eXIf", b"IEND"}
_TRANSPARENT_COLOUR_BYTES = {0: 2, 2: 6}  # by colour type: grey, RGB


def read_png(data: bytes, limits: ImageLimits) -> DecodedFrame:
    """Decode a PNG.

    Args:
        data: the whole file.
        limits: the maximum number of pixels.

    Raises:
        ImageError: the file has Apple's encoding, or too many pixels.
        Exception: any that Pillow raises for a damaged file.
    """
    data, embedded = strip_chunks(data)
    with open_image(data, "PNG", limits) as image:
        if embedded is not None:
            image.info["icc_profile"] = embedded
        profile = read_profile(image, data)
        _scale_transparent_colour(image)
        # Pillow decodes 16-bit grey with alpha to RGBA, to which a grey profile does not apply.
        return to_frame(image, profile, "LA" if image.tile[0].args == "LA;16B" else None)


def strip_chunks(data: bytes) -> tuple[bytes, bytes | None]:
    """Remove the chunks of a PNG that do not affect pixels: text, time, animation and the like.

    Of an ancillary chunk that affects pixels, one that is damaged is removed. Critical chunks are
    not changed, damaged or not.

    Args:
        data: the whole file.

    Returns:
        The file, `data` itself if there is nothing to remove; and its colour profile, None if it is
        missing, damaged or has more than `MAX_PROFILE_BYTES`.

    Raises:
        ImageError: the file has Apple's encoding, which is not PNG.
    """
    view = memoryview(data)
    kept, profile, kept_from, pixels = [], None, 0, False
    for name, start, end in _chunks(data):
        if name == b"CgBI":
            raise ImageError(
                "unsupported_format",
                "PNG in Apple's encoding (CgBI) is not supported: send the original PNG",
            )
        pixels = pixels or name == b"IDAT"
        if name == b"iCCP" and profile is None and not pixels and _has_checksum(view[start:end]):
            profile = _read_profile(view[start + 8 : end - 4])
        if not _affects_pixels(name, view[start:end], data[_COLOUR_TYPE], pixels):
            kept.append(view[kept_from:start])
            kept_from = end
    return (b"".join([*kept, view[kept_from:]]) if kept else data), profile


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of each chunk up to the first without a valid name."""
    at = _FIRST_CHUNK
    while (name := data[at + 4 : at + 8]).isalpha() and len(name) == 4:
        end = at + 12 + int.from_bytes(data[at : at + 4])
        yield name, at, end
        at = end


def _affects_pixels(name: bytes, chunk: memoryview, colour_type: int, pixels: bool) -> bool:
    if pixels:
        return name in _AFTER_PIXELS
    if not name[0] & 0x20:  # a critical chunk
        return True
    if name not in _KEPT:
        return False
    length = len(chunk) - 12
    if name == b"tRNS":
        valid = length >= _TRANSPARENT_COLOUR_BYTES.get(colour_type, 0)
    else:
        valid = length == (_KEPT[name] or length)
    return valid and _has_checksum(chunk)


def _has_checksum(chunk: memoryview) -> bool:
    """Return whether a chunk is whole and its checksum is correct."""
    return zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:])


def _read_profile(body: memoryview) -> bytes | None:
    """Decompress the profile of an iCCP chunk: its name, a zero, the method, the profile."""
    _, zero, compressed = bytes(body).partition(b"\x00")
    if not zero or compressed[:1] != b"\x00":
        return None
    decompressor = zlib.decompressobj()
    try:
        profile = decompressor.decompress(compressed[1:], MAX_PROFILE_BYTES + 1)
    except zlib.error:
        return None
    return profile if decompressor.eof and len(profile) <= MAX_PROFILE_BYTES else None


def _scale_transparent_colour(image: ImageFile.ImageFile) -> None:
    """Scale the transparent colour to 8 bits; Pillow scales only the pixels."""
    colour = image.info.get("transparency")
    scale = {"L;2": 85, "L;4": 17, "RGB;16B": 1 / 256}.get(str(image.tile[0].args), 1)
    if isinstance(colour, tuple):
        image.info["transparency"] = tuple(int(sample * scale) for sample in colour)
    elif isinstance(colour, int):
        image.info["transparency"] = int(colour * scale)
