"""Outdoor swimming pool: refracted tiles with caustics, terrace, loungers and palms."""

import numpy as np
from numpy.typing import NDArray

from tools.sample_photos.arrays import Array, dot, mix, reflected, smoothstep, unit, vector
from tools.sample_photos.camera import Camera
from tools.sample_photos.film import Scene
from tools.sample_photos.noise import fbm, gradient_noise
from tools.sample_photos.sky import Clouds, Sky
from tools.sample_photos.solids import Box, nearest
from tools.sample_photos.water import fresnel, wave_normals

CAMERA = Camera(position=(-1.5, 2.9, -3.0), target=(0.3, 0.7, 8.0), focal_length=1.5)
SKY = Sky(
    zenith=(0.07, 0.22, 0.62),
    horizon=(0.50, 0.66, 0.85),
    sun=(-0.55, 0.8, -0.3),
    sunlight=(1.0, 0.95, 0.85),
    glow=0.3,
    clouds=Clouds(2.5, 0.38, (0.95, 0.95, 0.97), (0.72, 0.75, 0.80), seed=71, stretch=1.5),
)
SUNLIGHT = vector(2.6, 2.4, 2.0)
SKYLIGHT = vector(0.32, 0.40, 0.52)
LEFT_M, RIGHT_M, NEAR_M, FAR_M, DEPTH_M = -3.2, 3.2, -2.0, 12.0, 1.5
WATER_M = -0.12
REFRACTION = 1 / 1.33
ABSORPTION = vector(0.42, 0.07, 0.035)  # of water with its pale blue lining, per metre

WHITE, WOOD, CUSHION, CANOPY = (
    (0.8, 0.78, 0.74),
    (0.36, 0.2, 0.1),
    (0.85, 0.86, 0.84),
    (0.82, 0.3, 0.12),
)


def lounger(x: float, z: float) -> tuple[Box, ...]:
    """A sun lounger: frame, cushion and raised back."""
    return (
        Box((x, 0.18, z), (x + 2.0, 0.28, z + 0.75), WOOD),
        Box((x + 0.05, 0.28, z + 0.04), (x + 1.4, 0.38, z + 0.71), CUSHION),
        Box((x + 1.35, 0.28, z + 0.04), (x + 1.55, 0.85, z + 0.71), CUSHION),
        Box((x + 0.1, 0.0, z + 0.1), (x + 0.2, 0.2, z + 0.65), WOOD),
        Box((x + 1.8, 0.0, z + 0.1), (x + 1.9, 0.2, z + 0.65), WOOD),
    )


BOXES: tuple[Box, ...] = (
    *lounger(4.0, 4.6),
    *lounger(4.0, 6.6),
    *lounger(4.0, 9.4),
    *lounger(4.0, 11.4),
    # A white house with a flat roof, a terrace door and windows.
    Box((-7.0, 0.0, 17.0), (3.5, 3.1, 24.0), WHITE),
    Box((-7.6, 3.1, 16.2), (4.1, 3.35, 24.5), (0.7, 0.68, 0.64)),
    Box((-5.8, 0.0, 16.95), (-3.0, 2.4, 17.1), (0.06, 0.09, 0.11)),
    Box((-1.9, 0.0, 16.95), (0.9, 2.4, 17.1), (0.06, 0.09, 0.11)),
    Box((1.6, 0.9, 16.95), (2.9, 2.2, 17.1), (0.06, 0.09, 0.11)),
    Box((5.3, 0.0, 8.25), (5.36, 2.35, 8.31), WOOD),
    Box((4.1, 2.3, 7.1), (6.6, 2.4, 9.5), CANOPY),
    Box((4.5, 2.4, 7.5), (6.2, 2.5, 9.1), CANOPY),
    Box((-20.0, 0.0, 25.0), (30.0, 2.0, 26.0), (0.07, 0.16, 0.03)),  # hedge
    Box((8.0, 0.0, 2.0), (9.0, 1.6, 26.0), (0.07, 0.16, 0.03)),
)


def caustics(x: Array, z: Array) -> Array:
    """Light that waves focus on the bottom: bright where two wave fields cross zero, (N,)."""
    warp_x = x + 0.3 * gradient_noise(x * 0.9, z * 0.9, 61)
    warp_z = z + 0.3 * gradient_noise(x * 0.9 + 7.0, z * 0.9, 62)
    first = 1.0 - np.abs(gradient_noise(warp_x * 1.7, warp_z * 1.7, 63)) * 3.0
    second = 1.0 - np.abs(gradient_noise(warp_x * 2.3 + 4.0, warp_z * 2.3, 64)) * 3.0
    return 0.7 + 1.1 * np.clip(first, 0, 1) ** 5 + 0.8 * np.clip(second, 0, 1) ** 5


def tiles(a: Array, b: Array, side_m: float, joint_m: float) -> Array:
    """1 on tiles, 0 on the joints between them, (N,)."""
    edge = np.minimum(
        np.abs(a / side_m - np.round(a / side_m)), np.abs(b / side_m - np.round(b / side_m))
    )
    return smoothstep(0.5, 1.0, edge * side_m / joint_m)


def in_pool(x: Array, z: Array) -> NDArray[np.bool_]:
    """Whether points of the ground are in the pool."""
    inside: NDArray[np.bool_] = (x > LEFT_M) & (x < RIGHT_M) & (z > NEAR_M) & (z < FAR_M)
    return inside


def basin(points: Array, directions: Array) -> Array:
    """Radiance of the lining that refracted rays reach from points of the surface."""
    per_axis = []
    for axis, low, high in ((0, LEFT_M, RIGHT_M), (1, -DEPTH_M, 9.0), (2, NEAR_M, FAR_M)):
        speed = directions[:, axis]
        wall = np.where(speed > 0, high, low)
        per_axis.append((wall - points[:, axis]) / np.where(np.abs(speed) < 1e-6, 1e-6, speed))
    length_m = np.maximum(np.min(per_axis, axis=0), 0.0)  # 0 outside the pool
    side = np.argmin(per_axis, axis=0)
    hit = points + directions * length_m[:, None]
    across = np.where(side == 0, hit[:, 2], hit[:, 0])
    along = np.where(side == 1, hit[:, 2], hit[:, 1])
    lining = mix(
        vector(0.30, 0.55, 0.62), vector(0.36, 0.74, 0.82), tiles(across, along, 0.3, 0.012)
    )
    light = np.where(side == 1, caustics(hit[:, 0], hit[:, 2]), 0.75)
    depth_m = WATER_M - hit[:, 1]
    travelled = np.exp(-ABSORPTION * (length_m + np.maximum(depth_m, 0.0))[:, None])
    radiance: Array = lining * travelled * light[:, None] * vector(1.5, 1.5, 1.4)
    return radiance


def water(points: Array, directions: Array) -> Array:
    """Radiance of the pool's water at points of its surface."""
    x, z = points[:, 0], points[:, 2]
    normals = wave_normals(x * 1.1, z * 1.1, np.full_like(x, 0.035), 3, seed=66)
    cosine = -dot(directions, normals)
    below = np.sqrt(1.0 - REFRACTION**2 * (1.0 - cosine**2))
    refracted = REFRACTION * directions + (REFRACTION * cosine - below)[:, None] * normals
    mirrored = reflected(directions, normals)
    mirrored[:, 1] = np.abs(mirrored[:, 1])
    return mix(basin(points, unit(refracted)), surroundings(points, mirrored), fresnel(cosine))


def surroundings(origins: Array, directions: Array) -> Array:
    """Radiance of what stands round the pool, without the ground."""
    colour = SKY.radiance(directions)
    wooded = tree_cover(directions)
    colour = mix(colour, trees(directions), wooded)
    distance_m, normals, albedo = nearest(BOXES, origins, directions)
    hit = np.isfinite(distance_m)
    points = origins[hit] + directions[hit] * distance_m[hit, None]
    colour[hit] = albedo[hit] * daylight(points, normals[hit])
    return colour


def tree_cover(directions: Array) -> Array:
    """Whether directions meet the row of trees behind the garden, (N,)."""
    bearing = np.arctan2(directions[:, 0], directions[:, 2])
    height = 0.085 + 0.05 * fbm(bearing * 6.0, np.zeros_like(bearing), 6, seed=75, gain=0.6)
    return (directions[:, 1] < height).astype(np.float64)


def trees(directions: Array) -> Array:
    """Radiance of foliage, lit from above."""
    x, y = np.arctan2(directions[:, 0], directions[:, 2]), directions[:, 1]
    leaves = fbm(x * 45.0, y * 45.0, 4, seed=76, gain=0.7)
    return mix(vector(0.015, 0.035, 0.01), vector(0.16, 0.26, 0.05), smoothstep(-0.5, 0.8, leaves))


def daylight(points: Array, normals: Array) -> Array:
    """Irradiance (N, 3): the sun where it is not hidden, and the sky."""
    sun = SKY.sun_direction
    origins = points + normals * 1e-3
    hidden = np.isfinite(nearest(BOXES, origins, np.broadcast_to(sun, origins.shape))[0])
    facing = np.clip(dot(normals, sun), 0.0, 1.0) * ~hidden
    return facing[:, None] * SUNLIGHT + (0.55 + 0.45 * normals[:, 1:2]) * SKYLIGHT


def ground(points: Array) -> Array:
    """Radiance of the terrace and the lawn behind it."""
    x, z = points[:, 0], points[:, 2]
    slab = mix(vector(0.36, 0.31, 0.26), vector(0.62, 0.55, 0.46), tiles(x, z, 0.8, 0.02))
    slab *= (1.0 + 0.10 * fbm(x * 3.0, z * 3.0, 4, seed=68))[:, None]
    rim = in_pool(x / 1.09, (z - 5.0) / 1.06 + 5.0).astype(np.float64)
    slab = mix(slab, vector(0.75, 0.72, 0.66), rim)
    blades = fbm(x * 5.0, z * 5.0, 4, seed=69, gain=0.7)
    lawn = mix(vector(0.05, 0.11, 0.02), vector(0.15, 0.26, 0.05), smoothstep(-0.8, 0.8, blades))
    far = ((z > 14.5) | (x > 6.8)).astype(np.float64)
    light = daylight(points, np.broadcast_to(vector(0.0, 1.0, 0.0), points.shape))
    return mix(slab, lawn, far) * light


def shade(x: Array, y: Array, _rng: np.random.Generator) -> Array:
    """Linear radiance (N, 3) at points of the photo."""
    directions = CAMERA.directions(x, y)
    origins = np.broadcast_to(vector(*CAMERA.position), directions.shape)
    colour = surroundings(origins, directions)
    boxes_m = nearest(BOXES, origins, directions)[0]
    ground_m = CAMERA.position[1] / np.maximum(-directions[:, 1], 1e-9)
    seen = (directions[:, 1] < 0) & (ground_m < boxes_m)
    points = origins + directions * ground_m[:, None]
    pool = seen & in_pool(points[:, 0], points[:, 2])
    colour[seen & ~pool] = ground(points[seen & ~pool])
    surface_m = ((WATER_M - CAMERA.position[1]) / directions[pool, 1])[:, None]
    surface = origins[pool] + directions[pool] * surface_m
    wet = in_pool(surface[:, 0], surface[:, 2])[:, None]
    colour[pool] = np.where(wet, water(surface, directions[pool]), vector(0.5, 0.62, 0.62))
    return colour


SCENE = Scene(
    file="pool.jpg",
    title="Swimming pool",
    alt="An outdoor swimming pool with clear blue water, sun loungers and a white house.",
    shader=shade,
    samples=2,
    exposure=0.75,
    vignette=0.15,
)
