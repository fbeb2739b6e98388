"""Water: waves and the share of light that it mirrors."""

import numpy as np

from tools.sample_photos.arrays import Array, dot, unit
from tools.sample_photos.noise import fbm

WATER_F0 = 0.02  # reflectance of water at normal incidence


def fresnel(cosine: Array, at_normal: float = WATER_F0) -> Array:
    """Mirrored share of the light, in Schlick's approximation.

    Args:
        cosine: between the direction to the viewer and the surface normal, (N,).
        at_normal: the share at normal incidence.
    """
    return at_normal + (1.0 - at_normal) * (1.0 - np.clip(cosine, 0.0, 1.0)) ** 5


def wave_normals(x: Array, z: Array, steepness: Array, octaves: int, seed: int) -> Array:
    """Normals (N, 3) of a rough water surface.

    Args:
        x: positions in wave lengths, (N,).
        z: positions in wave lengths, (N,).
        steepness: mean slope of the waves, (N,).
        octaves: of the fractal sum of waves.
        seed: chooses the waves.
    """
    step = 0.02

    def height(a: Array, b: Array) -> Array:
        return fbm(a, b, octaves, seed, gain=0.55)

    centre = height(x, z)
    slope_x = (height(x + step, z) - centre) / step
    slope_z = (height(x, z + step) - centre) / step
    normals = np.stack([-slope_x * steepness, np.ones_like(x), -slope_z * steepness], axis=-1)
    return unit(normals)


def visible_normals(normals: Array, directions: Array) -> Array:
    """Turn normals that face away from the viewer until they are just visible."""
    facing = dot(normals, directions)
    turned = normals - np.maximum(facing + 0.02, 0.0)[:, None] * directions
    return unit(turned)
