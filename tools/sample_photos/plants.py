"""Silhouettes of plants."""

import numpy as np

from tools.sample_photos.arrays import Array
from tools.sample_photos.stencil import Pen, Point


def palm(pen: Pen, base: Point, crown: Point, size: float, seed: int) -> None:
    """Draw a coconut palm.

    Args:
        pen: draws into a stencil.
        base: foot of the trunk.
        crown: where the fronds start.
        size: length of a frond, in half heights of the photo.
        seed: chooses the fronds.
    """
    rng = np.random.default_rng(seed)
    _trunk(pen, np.array(base), np.array(crown), size)
    for angle in np.linspace(-0.45, np.pi + 0.45, 13):
        length = size * rng.uniform(0.85, 1.1)
        _frond(pen, np.array(crown), angle + rng.normal(0, 0.08), length, rng)
    for _ in range(5):  # coconuts
        x, y = np.array(crown) + rng.normal(0, 0.045 * size, 2) - (0, 0.07 * size)
        circle = np.linspace(0, 2 * np.pi, 20)
        radius = 0.045 * size
        pen.polygon([(x + radius * np.cos(a), y + radius * np.sin(a)) for a in circle])


def _trunk(pen: Pen, base: Array, crown: Array, size: float) -> None:
    along = np.linspace(0, 1, 60)
    bend = np.array([base[0] + 0.15 * (crown[0] - base[0]), (base[1] + crown[1]) / 2])
    middle = (
        np.outer((1 - along) ** 2, base)
        + np.outer(2 * along * (1 - along), bend)
        + np.outer(along**2, crown)
    )
    ring = 1 + 0.08 * np.abs(np.sin(along * 70))  # scars of fallen leaves
    half = size * (0.07 - 0.035 * along + 0.04 * (1 - along) ** 8) * ring
    left = [(x - w, y) for (x, y), w in zip(middle, half, strict=True)]
    right = [(x + w, y) for (x, y), w in zip(middle, half, strict=True)]
    pen.polygon(left + right[::-1])


def _frond(pen: Pen, crown: Array, angle: float, length: float, rng: np.random.Generator) -> None:
    """Draw an arching rib with hanging leaflets on both sides."""
    along = np.linspace(0, 1, 46)
    rib_x = crown[0] + length * np.cos(angle) * along
    rise = 0.55 * np.sin(angle) + 0.35
    rib_y = crown[1] + length * (rise * along - (0.5 + 0.25 * abs(np.cos(angle))) * along**2)
    for i in range(1, len(along)):
        here, before = np.array([rib_x[i], rib_y[i]]), np.array([rib_x[i - 1], rib_y[i - 1]])
        tangent = (here - before) / np.hypot(*(here - before))
        normal = np.array([-tangent[1], tangent[0]])
        half = 0.012 * length * (1.2 - along[i]) * normal
        pen.polygon(
            [(p[0], p[1]) for p in (before - half, before + half, here + half, here - half)]
        )
        leaf = length * 0.27 * np.sin(np.pi * (0.1 + 0.86 * along[i])) ** 0.6
        for side in (-1.0, 1.0):
            out = 0.8 * tangent + side * normal * rng.uniform(0.45, 0.65) - (0, 0.35)
            tip = here + leaf * out * rng.uniform(0.85, 1.1)
            half = tangent * 0.011 * length
            pen.polygon([(p[0], p[1]) for p in (here - half, here + half, tip)])
