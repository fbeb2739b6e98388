"""Draws images that show nothing: confetti, shapes, colour fields, wheels, glows, noise and text.

The training shows them as images without any label, since a model that has only seen photos is sure
of something on every image (outlier exposure: Hendrycks et al., 2019).
"""

import colorsys

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

Colour = tuple[int, int, int]


def drawings(count: int, size_px: int, seed: int) -> Tensor:
    """Draw images, as many of each kind.

    Args:
        count: number B of images.
        size_px: side S of the images.
        seed: seed of all random values.

    Returns:
        (B, 3, S, S) float32 in [0, 1].
    """
    random = np.random.default_rng(seed)
    kinds = (_confetti, _shapes, _field, _wheel, _glow, _noise, _text)
    images = [np.asarray(kinds[i % len(kinds)](size_px, random)) for i in range(count)]
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255


def _colour(random: np.random.Generator) -> Colour:
    """Draw any colour, often white or black."""
    plain = ((255, 255, 255), (0, 0, 0))
    pick = int(random.integers(6))
    if pick < len(plain):
        return plain[pick]
    red, green, blue = random.integers(256, size=3)
    return int(red), int(green), int(blue)


def _circle(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, colour: Colour) -> None:
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), colour)


def _confetti(size_px: int, random: np.random.Generator) -> Image.Image:
    image = Image.new("RGB", (size_px, size_px), _colour(random))
    draw, largest = ImageDraw.Draw(image), size_px * random.uniform(0.004, 0.05)
    for _ in range(int(random.integers(20, 600))):
        x, y = random.uniform(0, size_px, 2)
        _circle(draw, x, y, largest * random.power(0.5), _colour(random))
    return image


def _shapes(size_px: int, random: np.random.Generator) -> Image.Image:
    image = Image.new("RGB", (size_px, size_px), _colour(random))
    draw = ImageDraw.Draw(image)
    for _ in range(int(random.integers(1, 7))):
        corners = [(float(x), float(y)) for x, y in random.uniform(0, size_px, (4, 2))]
        shape = random.integers(3)
        if shape == 0:
            draw.polygon(corners, _colour(random))
        elif shape == 1:
            _circle(draw, *corners[0], size_px * random.uniform(0.05, 0.4), _colour(random))
        else:
            draw.line(corners, _colour(random), int(random.integers(1, size_px // 8)))
    return image


def _field(size_px: int, random: np.random.Generator) -> Image.Image:
    shape = (*random.integers(1, 7, 2), 3)
    cells = Image.fromarray(random.integers(256, size=shape, dtype=np.uint8))
    smooth = random.integers(2) == 0
    return cells.resize(
        (size_px, size_px), Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST
    )


def _wheel(size_px: int, random: np.random.Generator) -> Image.Image:
    image = Image.new("RGB", (size_px, size_px), _colour(random))
    draw, parts = ImageDraw.Draw(image), int(random.integers(3, 90))
    margin = size_px * random.uniform(0, 0.2)
    box, turn = (margin, margin, size_px - margin, size_px - margin), random.uniform(0, 360)
    saturation, value = random.uniform(0.3, 1.0, 2)
    for part in range(parts):
        red, green, blue = colorsys.hsv_to_rgb(part / parts, saturation, value)
        colour = (round(255 * red), round(255 * green), round(255 * blue))
        step = 360 / parts
        draw.pieslice(box, turn + part * step, turn + (part + 1) * step, colour)
    return image


def _glow(size_px: int, random: np.random.Generator) -> Image.Image:
    x, y, radius = random.uniform(0.2, 0.8, 3) * size_px
    down, right = np.mgrid[:size_px, :size_px]
    distance = np.hypot(down - y, right - x) / radius
    light = np.exp(-(distance ** random.uniform(0.5, 4)))[..., None]
    colours = np.array([_colour(random), _colour(random)])
    return Image.fromarray((light * colours[0] + (1 - light) * colours[1]).astype(np.uint8))


def _noise(size_px: int, random: np.random.Generator) -> Image.Image:
    side = int(size_px / random.uniform(1, 12))
    channels = 1 if random.integers(2) else 3
    mean, deviation = random.uniform(40, 215), random.uniform(10, 90)
    values = np.broadcast_to(
        random.normal(mean, deviation, (side, side, channels)), (side, side, 3)
    )
    small = Image.fromarray(values.clip(0, 255).astype(np.uint8))
    return small.resize((size_px, size_px), Image.Resampling.BILINEAR)


def _text(size_px: int, random: np.random.Generator) -> Image.Image:
    paper, ink = _colour(random), _colour(random)
    image = Image.new("RGB", (2 * size_px, 2 * size_px), paper)
    draw, height = ImageDraw.Draw(image), random.uniform(8, 40)
    font = ImageFont.load_default(height)
    for top in np.arange(0, 2 * size_px, height * random.uniform(1.1, 2)):
        letters = random.choice(list("abcdefghijklmnoprstuvw    ABCDE0123"), 120)
        draw.text((0, top), "".join(letters), ink, font)
    image = image.rotate(random.normal(0, 8), fillcolor=paper)
    edge = size_px // 2
    return image.crop((edge, edge, edge + size_px, edge + size_px))
