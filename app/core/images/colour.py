"""Conversion of pixels to sRGB by their ICC profile, with LittleCMS.

The intent is relative colorimetric, without black point compensation. A profile that cannot be used
is ignored, as in browsers. Transforms are built once for each profile and are safe to share between
threads.
"""

import io
import math
import struct
from collections import OrderedDict
from hashlib import sha256
from threading import Lock

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

Samples = npt.NDArray[np.uint8]

# Profiles of printing presses have up to 3 MB.
MAX_PROFILE_BYTES = 8 * 2**20
MAX_TRANSFORMS = 32  # of up to 0.5 MB each
# A profile that changes no colour by more than this is that of sRGB, in one of its many versions.
MAX_SRGB_DIFFERENCE = 2
STRIP_PIXELS = 2**18  # bounds the memory of a conversion, and fits in a processor's cache

_INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
_FLAGS = ImageCms.Flags.NOCACHE  # LittleCMS's cache of one pixel is not thread-safe
_CLASSES = {b"scnr", b"mntr", b"prtr", b"spac"}
_HEADER_BYTES, _MAX_TAGS, _TAG_BYTES = 132, 100, 12

# Colour space of an image and of its profile -> Pillow's mode of the input. Grey images often have
# the profile of the RGB image that they were made from.
_INPUT_MODES = {
    ("L", b"GRAY"): "L",
    ("L", b"RGB "): "RGB",
    ("RGB", b"RGB "): "RGB",
    ("CMYK", b"CMYK"): "CMYK",
}

_transforms: OrderedDict[tuple[bytes, str], ImageCms.ImageCmsTransform | None] = OrderedDict()
_lock = Lock()


def find_transform(profile: bytes | None, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the transform from a profile to sRGB.

    Args:
        profile: an ICC profile; untrusted. None means sRGB.
        mode: Pillow's mode of the image that has the profile.

    Returns:
        A transform with `input_mode` L, RGB or CMYK and output RGB. None if the pixels are to be
        used unchanged: the profile is that of sRGB, is missing, damaged or too large, or describes
        another colour space than the image's.
    """
    if not profile or len(profile) > MAX_PROFILE_BYTES:
        return None
    space = {"CMYK": "CMYK", "P": "RGB"}.get(mode, Image.getmodebase(mode))
    input_mode = _INPUT_MODES.get((space, profile[16:20]))
    if input_mode is None:
        return None
    key = sha256(profile).digest(), input_mode
    with _lock:
        if key in _transforms:
            _transforms.move_to_end(key)
            return _transforms[key]
    transform = _build(profile, input_mode)
    with _lock:
        _transforms[key] = transform
        while len(_transforms) > MAX_TRANSFORMS:
            _transforms.popitem(last=False)
    return transform


def lab_to_srgb(image: Image.Image) -> Image.Image:
    """Convert an image of mode LAB (CIE L*a*b* with white point D50) to sRGB."""
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    return ImageCms.ImageCmsTransform(lab, _srgb(), "LAB", "RGB", _INTENT, flags=_FLAGS).apply(
        image
    )


def convert_samples(pixels: Samples, transform: ImageCms.ImageCmsTransform) -> None:
    """Convert RGB pixels to sRGB in place.

    Args:
        pixels: uint8 (H, W, 3); the three channels are equal if the transform's input is grey.
        transform: of `find_transform`, with input L or RGB.
    """
    rows = max(1, STRIP_PIXELS // pixels.shape[1])
    for top in range(0, len(pixels), rows):
        strip = pixels[top : top + rows]
        channels = strip[..., 0] if transform.input_mode == "L" else strip
        strip[:] = np.asarray(transform.apply(Image.fromarray(channels)))


def _build(profile: bytes, input_mode: str) -> ImageCms.ImageCmsTransform | None:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(_checked(profile)))
        transform = ImageCms.ImageCmsTransform(
            source, _srgb(), input_mode, "RGB", _INTENT, flags=_FLAGS
        )
    except (ValueError, OSError, struct.error):
        return None
    return None if _is_srgb(transform) else transform


def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _is_srgb(transform: ImageCms.ImageCmsTransform) -> bool:
    """Return whether a transform changes no colour of a grid, except by rounding."""
    if transform.input_mode == "CMYK":
        return False
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(len(levels), -1, 3)
    greys = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    return all(
        np.abs(_converted(grid, transform) - grid.astype(int)).max() <= MAX_SRGB_DIFFERENCE
        for grid in ([greys] if transform.input_mode == "L" else [colours, greys])
    )


def _converted(pixels: Samples, transform: ImageCms.ImageCmsTransform) -> Samples:
    copy = pixels.copy()
    convert_samples(copy, transform)
    return copy


def _checked(profile: bytes) -> bytes:
    """Return a profile that LittleCMS reads in bounded time and memory.

    LittleCMS allocates a colour table before it reads it, up to 512 MiB. Of a floating-point
    pipeline (tags D2B0 to D2B3), which it prefers, it reads any number of stages. Browsers ignore
    those tags, and so do we: they get another name.

    Raises:
        ValueError: a table is larger than the profile, or the profile is of another kind.
        struct.error: the profile is truncated.
    """
    (count,) = struct.unpack_from(">I", profile, _HEADER_BYTES - 4)
    if profile[12:16] not in _CLASSES or count > _MAX_TAGS:
        raise ValueError("not the profile of a device or colour space, or too many tags")
    directory = bytearray(profile[_HEADER_BYTES : _HEADER_BYTES + count * _TAG_BYTES])
    for at in range(0, count * _TAG_BYTES, _TAG_BYTES):
        name, offset = struct.unpack_from(">3sxI", directory, at)
        if name == b"A2B":
            _check_table(profile, offset)
        elif name == b"D2B":
            directory[at : at + 3] = b"d2b"
    return profile[:_HEADER_BYTES] + directory + profile[_HEADER_BYTES + len(directory) :]


def _check_table(profile: bytes, tag: int) -> None:
    """Check that the colour table of a tag A2B0, A2B1 or A2B2 fits in the profile."""
    channels_in, channels_out = profile[tag + 8 : tag + 10]
    match profile[tag : tag + 4]:
        case b"mft1" | b"mft2":
            points = profile[tag + 10 : tag + 11] * channels_in
        case b"mAB ":
            offset = int.from_bytes(profile[tag + 24 : tag + 28])
            table = (tag + offset) % 2**32  # as LittleCMS adds
            points = profile[table : table + channels_in] if offset else b""
        case _:
            raise ValueError("unknown type of table")
    if math.prod(points) * channels_out > len(profile):
        raise ValueError("the table is larger than the profile")
