"""Conversion of decoded images to 8-bit sRGB: modes, 16 bits, colour profiles, transparency."""

import numpy as np
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import TiffImageFile

from app.core.images.colour import STRIP_PIXELS, find_transform, lab_to_srgb
from app.errors import ImageError

# round(value / 257) scales a 16-bit sample to 8 bits; Pillow's conversion clips at 255.
_TO_8_BITS = ((np.arange(65_536) + 128) // 257).astype(np.uint8)


def to_rgb(
    image: Image.Image, profile: bytes | None = None, mode: str | None = None
) -> Image.Image:
    """Convert to mode RGB in sRGB: 16 bits scaled to 8, transparency composited over white.

    Args:
        image: the decoded image, in any mode of Pillow.
        profile: ICC profile of its colours; None means sRGB, or the naive formula for CMYK.
        mode: mode of the file's samples if Pillow decodes them to another.

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
    transform = find_transform(profile, mode or image.mode)
    if image.mode.startswith("I;16"):
        image = _grey_16_to_8(image)
    if image.mode == "La":
        image = image.convert("LA")
    transparent = "transparency" in image.info or image.mode in ("LA", "PA", "RGBA", "RGBa")
    if transform is None and not transparent:
        return image.convert("RGB")
    result = Image.new("RGB", image.size, "white")
    rows = max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        alpha = None
        if transparent:
            strip = alpha = strip.convert("RGBA")
        if transform is not None:
            strip = transform.apply(strip.convert(transform.input_mode))
        result.paste(strip, (0, top), alpha)
    return result


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
