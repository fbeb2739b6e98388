"""Sunset over the sea: sky and clouds mirrored in waves, a palm against the light."""

from functools import cache

import numpy as np

from tools.sample_photos.arrays import Array, dot, mix, reflected, smoothstep, vector
from tools.sample_photos.camera import Camera
from tools.sample_photos.film import Scene
from tools.sample_photos.plants import palm
from tools.sample_photos.sky import Clouds, Sky
from tools.sample_photos.stencil import Pen, inside, stencil
from tools.sample_photos.water import fresnel, visible_normals, wave_normals

CAMERA = Camera(position=(0.0, 4.0, 0.0), target=(0.0, 5.6, 20.0), focal_length=1.7)
SKY = Sky(
    zenith=(0.10, 0.05, 0.10),
    horizon=(0.85, 0.20, 0.02),
    sun=(0.12, 0.075, 1.0),
    sunlight=(1.0, 0.40, 0.07),
    glow=0.75,
    disc=40.0,
    falloff=3.5,
    clouds=Clouds(
        scale=2.2,
        coverage=0.62,
        lit=(0.62, 0.14, 0.06),
        shaded=(0.10, 0.035, 0.05),
        seed=11,
        stretch=2.5,
    ),
)
DEEP_WATER = vector(0.010, 0.022, 0.045)
SILHOUETTE = vector(0.006, 0.005, 0.008)


@cache
def palms() -> Array:
    """Silhouettes of two palms at the left edge."""

    def draw(pen: Pen) -> None:
        palm(pen, (-1.12, -1.1), (-0.62, 0.42), 0.62, seed=4)
        palm(pen, (-1.30, -1.1), (-1.22, 0.05), 0.48, seed=9)

    return stencil(draw)


def shade(x: Array, y: Array, rng: np.random.Generator) -> Array:
    """Linear radiance (N, 3) at points of the photo."""
    directions = CAMERA.directions(x, y)
    colour = SKY.radiance(directions)
    colour[inside(palms(), x, y) > 0.5] = SILHOUETTE
    below = (directions[:, 1] < -1e-4) & (inside(palms(), x, y) < 0.5)
    colour[below] = sea(directions[below], rng)
    return colour


def sea(directions: Array, rng: np.random.Generator) -> Array:
    """Radiance of the sea in directions (N, 3) below the horizon."""
    distance_m = CAMERA.position[1] / -directions[:, 1]
    x, z = directions[:, 0] * distance_m, directions[:, 2] * distance_m
    # Waves finer than a pixel are not resolved: a random slope stands for them.
    steepness = np.full_like(x, 0.075)
    normals = wave_normals(x / 9.0, z / 3.6, steepness, 3, seed=3)
    rough = 0.012 * smoothstep(15.0, 150.0, distance_m)[:, None]
    normals[:, [0, 2]] += rough * rng.normal(size=(len(x), 2))
    normals = visible_normals(normals, directions)
    mirrored = reflected(directions, normals)
    share = fresnel(-dot(directions, normals))
    colour = mix(DEEP_WATER, SKY.radiance(mirrored), share)
    haze = smoothstep(200.0, 4000.0, distance_m)
    horizon = SKY.radiance(directions * vector(1, 0, 1))
    return mix(colour, horizon * 0.7, 0.5 * haze)


SCENE = Scene(
    file="sunset.jpg",
    title="Sunset over the sea",
    alt="The sun sets over the sea behind the silhouettes of two palm trees.",
    shader=shade,
    samples=2,
)
