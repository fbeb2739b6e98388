"""Conversion of decoded images to 8-bit sRGB: modes, 16 bits, colour profiles, transparency."""

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from app.core.images.colour import find_transform, lab_to_srgb
from app.errors import ImageError

# round(value / 257) scales a 16-bit sample to 8 bits; Pillow's conversion clips at 255.
_TO_8_BITS = ((np.arange(65_536) + 128) // 257).astype(np.uint8)


def to_rgb(image: Image.Image, profile: bytes | None = None) -> Image.Image:
    """Convert to mode RGB in sRGB: 16 bits scaled to 8, transparency composited over white.

    Args:
        image: the decoded image, in any mode of Pillow.
        profile: ICC profile of its colours; None means sRGB, or the naive formula for CMYK.

    Raises:
        ImageError: the samples are signed, floating-point or have 32 bits.
    """
    if image.mode in ("I", "F"):
        raise ImageError(
            "unsupported_format",
            "signed, floating-point and 32-bit samples have no defined brightness: "
            "send 8 or 16 bits per channel",
        )
    if image.mode == "LAB":
        return lab_to_srgb(image)
    transform = find_transform(profile, image.mode)
    if image.mode.startswith("I;16"):
        image = _grey_16_to_8(image)
    if image.mode == "La":
        image = image.convert("LA")
    if "transparency" not in image.info and image.mode not in ("LA", "PA", "RGBA", "RGBa"):
        return _opaque_to_rgb(image, transform)
    foreground = alpha = image if image.mode == "RGBA" else image.convert("RGBA")
    if transform is not None:
        foreground = transform.apply(foreground.convert(transform.input_mode))
    background = Image.new("RGB", image.size, "white")
    background.paste(foreground, mask=alpha)
    return background


def scale_transparent_colour(image: ImageFile.ImageFile) -> None:
    """Scale the transparent colour of a PNG to 8 bits; Pillow scales only the pixels."""
    colour = image.info.get("transparency")
    if image.format != "PNG" or colour is None:
        return
    scale = {"L;2": 85, "L;4": 17, "RGB;16B": 1 / 256}.get(str(image.tile[0].args), 1)
    if isinstance(colour, tuple):
        image.info["transparency"] = tuple(int(sample * scale) for sample in colour)
    elif isinstance(colour, int):
        image.info["transparency"] = int(colour * scale)


def _opaque_to_rgb(image: Image.Image, transform: ImageCms.ImageCmsTransform | None) -> Image.Image:
    if transform is None:
        return image.convert("RGB")
    source = image if image.mode == transform.input_mode else image.convert(transform.input_mode)
    return transform.apply(source)


def _grey_16_to_8(image: Image.Image) -> Image.Image:
    samples = np.asarray(image)
    if isinstance(image, TiffImageFile):  # Pillow neither widens 12 bits nor inverts 16
        if image.tag_v2.get(ExifTags.Base.BitsPerSample) == (12,):
            samples = samples << 4
        if image.tag_v2.get(ExifTags.Base.PhotometricInterpretation) == 0:
            samples = 65_535 - samples
    grey = _TO_8_BITS[samples]
    if "transparency" in image.info:
        grey[samples == image.info["transparency"]] = 255
    return Image.fromarray(grey)
