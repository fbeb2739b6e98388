"""Edits of photos that make near-duplicates and photos which no gallery should show."""

import io
import random
from collections.abc import Callable

from PIL import Image, ImageDraw, ImageFilter, ImageFont

DARK = 0.15  # share of the values that a dark copy keeps
BLUR = 0.015  # of the longer side
TEXT = "Welcome to our house. Breakfast from 7 to 10. Free parking. Book now, call us today. " * 9


def edited(data: bytes, edit: Callable[[Image.Image], Image.Image]) -> bytes:
    """Return an edited copy of an image file, as JPEG."""
    return encoded(edit(Image.open(io.BytesIO(data)).convert("RGB")))


def encoded(image: Image.Image) -> bytes:
    """Return an image as JPEG of quality 85."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def cropped(image: Image.Image) -> Image.Image:
    """Return 92 % of the width and of the height, a tenth lighter."""
    width, height = image.size
    box = (int(0.05 * width), int(0.03 * height), int(0.97 * width), int(0.95 * height))
    return image.crop(box).point(lambda value: min(255, 1.1 * value))


def darkened(image: Image.Image) -> Image.Image:
    """Return a dark copy."""
    return image.point(lambda value: DARK * value)


def blurred(image: Image.Image) -> Image.Image:
    """Return a blurred copy."""
    return image.filter(ImageFilter.GaussianBlur(BLUR * max(image.size)))


def text_page(rng: random.Random) -> Image.Image:
    """Return a page of 600 x 450 pixels with 11 to 20 lines of text on one light colour."""
    size = rng.randint(16, 28)
    page = Image.new("RGB", (600, 450), (rng.randint(200, 255), 245, rng.randint(200, 255)))
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size)
    for top in range(15, 430, int(1.4 * size)):
        start = rng.randint(0, 80)
        draw.text((15, top), TEXT[start : start + 900 // size], font=font, fill=(20, 20, 60))
    return page
