"""Gradient noise and fractal sums of it, the texture of terrain, clouds and waves."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from tools.sample_photos.arrays import Array

TABLE = 256
# Octaves are rotated by an angle that is no divisor of the circle, so lattices do not line up.
COSINE, SINE = np.cos(0.65), np.sin(0.65)


@cache
def _tables(seed: int) -> tuple[NDArray[np.int64], Array, Array]:
    """Return a permutation (2 * TABLE,) and the gradients' x and y (TABLE,)."""
    rng = np.random.default_rng(seed)
    permutation = rng.permutation(TABLE)
    angles = rng.random(TABLE) * 2.0 * np.pi
    return np.concatenate([permutation, permutation]), np.cos(angles), np.sin(angles)


def gradient_noise(x: Array, y: Array, seed: int = 0) -> Array:
    """Perlin's gradient noise with quintic interpolation.

    Args:
        x: positions in lattice cells.
        y: positions in lattice cells, shape of `x`.
        seed: chooses the gradients.

    Returns:
        About -0.7 to 0.7, mean 0, shape of `x`.
    """
    permutation, gradient_x, gradient_y = _tables(seed)
    left, bottom = np.floor(x), np.floor(y)
    dx, dy = x - left, y - bottom
    column, row = left.astype(np.int64) & (TABLE - 1), bottom.astype(np.int64) & (TABLE - 1)

    def corner(i: int, j: int) -> Array:
        gradient = permutation[permutation[(column + i) & (TABLE - 1)] + ((row + j) & (TABLE - 1))]
        corner_value: Array = gradient_x[gradient] * (dx - i) + gradient_y[gradient] * (dy - j)
        return corner_value

    u = dx * dx * dx * (dx * (dx * 6.0 - 15.0) + 10.0)
    v = dy * dy * dy * (dy * (dy * 6.0 - 15.0) + 10.0)
    low = corner(0, 0) * (1.0 - u) + corner(1, 0) * u
    high = corner(0, 1) * (1.0 - u) + corner(1, 1) * u
    return low * (1.0 - v) + high * v


def fbm(x: Array, y: Array, octaves: int, seed: int = 0, gain: float = 0.5) -> Array:
    """Fractal Brownian motion: octaves of noise, each twice as fine and `gain` as strong.

    Returns:
        About -1 to 1, mean 0, shape of `x`.
    """
    total, amplitude = np.zeros_like(x), 1.0
    for octave in range(octaves):
        total += amplitude * gradient_noise(x, y, seed + octave)
        x, y = 2.0 * (COSINE * x - SINE * y) + 17.3, 2.0 * (SINE * x + COSINE * y) - 9.1
        amplitude *= gain
    return total


def ridged(x: Array, y: Array, octaves: int, seed: int = 0, gain: float = 0.5) -> Array:
    """Ridged multifractal noise: sharp crests, with detail on the crests and smooth valleys.

    Returns:
        About 0 to 2, shape of `x`.
    """
    total, amplitude = np.zeros_like(x), 1.0
    weight = np.ones_like(x)
    for octave in range(octaves):
        crest = (1.0 - np.abs(gradient_noise(x, y, seed + octave)) * 1.6) ** 2
        total += amplitude * crest * weight
        weight = np.clip(crest * 1.4, 0.0, 1.0)
        x, y = 2.0 * (COSINE * x - SINE * y) + 17.3, 2.0 * (SINE * x + COSINE * y) - 9.1
        amplitude *= gain
    return total
