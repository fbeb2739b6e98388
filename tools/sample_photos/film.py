"""From a scene to a JPEG file: supersampling, tone mapping, lens and film, encoding."""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from tools.sample_photos.arrays import Array

BAND_POINTS = 40_000  # shaded together: bounds the memory
BRIGHTEST = 12.0  # radiance of one sample: above it, single samples would show as white dots
QUALITIES = range(92, 29, -1)

Shader = Callable[[Array, Array, np.random.Generator], Array]


@dataclass(frozen=True, slots=True)
class Scene:
    """A photo to render.

    Attributes:
        file: name of the JPEG file.
        title: two or three words.
        alt: what the photo shows, for people who do not see it.
        shader: points of the photo x, y (N,), in half heights from its centre, to linear
            radiance (N, 3).
        samples: the photo has samples x samples stratified samples per pixel.
        exposure: factor of the radiance before tone mapping.
        grain: standard deviation of the film grain, in sRGB units.
        vignette: how much darker the corners are, 0 to 1.
    """

    file: str
    title: str
    alt: str
    shader: Shader
    samples: int = 4
    exposure: float = 1.0
    grain: float = 0.003
    vignette: float = 0.25


def render(scene: Scene, width: int, height: int, samples: int | None = None) -> Array:
    """Render a scene; the same arguments give the same pixels.

    Args:
        scene: what to render.
        width: in pixels.
        height: in pixels.
        samples: instead of the scene's, for a preview.

    Returns:
        (height, width, 3) sRGB in [0, 1].
    """
    per_side = samples or scene.samples
    rng = np.random.default_rng(20)
    rows, columns = (axis.ravel() for axis in np.mgrid[0:height, 0:width].astype(np.float64))
    radiance = np.zeros((height * width, 3))
    for i in range(per_side * per_side):
        down = rows + (i // per_side + rng.random(rows.shape)) / per_side
        right = columns + (i % per_side + rng.random(rows.shape)) / per_side
        x, y = (2.0 * right - width) / height, 1.0 - 2.0 * down / height
        for start in range(0, rows.size, BAND_POINTS):
            band = slice(start, start + BAND_POINTS)
            radiance[band] += np.clip(scene.shader(x[band], y[band], rng), 0.0, BRIGHTEST)
    linear = radiance.reshape(height, width, 3) * (scene.exposure / per_side**2)
    return with_grain(
        encode_srgb(tone_mapped(with_vignette(linear, scene.vignette))), scene.grain, rng
    )


def with_vignette(linear: Array, strength: float) -> Array:
    """Darken the corners as a lens does: radiance falls with the distance from the centre."""
    height, width = linear.shape[:2]
    y, x = np.mgrid[-1.0 : 1.0 : height * 1j, -1.0 : 1.0 : width * 1j]
    darkened: Array = linear * (1.0 - strength * ((x * x + y * y) / 2.0) ** 1.2)[..., None]
    return darkened


def tone_mapped(linear: Array) -> Array:
    """Compress radiance into [0, 1] with the filmic curve of ACES, in Narkowicz' fit."""
    curve = linear * (2.51 * linear + 0.03) / (linear * (2.43 * linear + 0.59) + 0.14)
    return np.clip(curve, 0.0, 1.0)


def encode_srgb(linear: Array) -> Array:
    """Apply the transfer function of sRGB."""
    return np.where(
        linear <= 0.0031308,
        12.92 * linear,
        1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055,
    )


def with_grain(pixels: Array, deviation: float, rng: np.random.Generator) -> Array:
    """Add film grain: the same normal noise in all three channels."""
    grain = rng.normal(0.0, deviation, pixels.shape[:2])
    return np.clip(pixels + grain[..., None], 0.0, 1.0)


def as_image(pixels: Array) -> Image.Image:
    """An 8-bit image of sRGB pixels (H, W, 3) in [0, 1]."""
    return Image.fromarray(np.round(pixels * 255.0).astype(np.uint8))


def encode_jpeg(pixels: Array, most_bytes: int) -> bytes:
    """Encode as a progressive JPEG without metadata, at the best quality that fits.

    Raises:
        ValueError: no quality fits `most_bytes`.
    """
    image = as_image(pixels)
    for quality in QUALITIES:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality, progressive=True, optimize=True)
        if buffer.tell() <= most_bytes:
            return buffer.getvalue()
    raise ValueError(f"no JPEG quality down to {QUALITIES[-1]} fits {most_bytes} bytes")
