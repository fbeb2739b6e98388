"""Boxes with matt surfaces, and the rays that meet them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tools.sample_photos.arrays import Array, vector

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Box:
    """An axis-aligned box.

    Attributes:
        low: its lowest corner, in metres.
        high: its highest corner, in metres.
        albedo: linear colour.
    """

    low: Triple
    high: Triple
    albedo: Triple


def nearest(boxes: Sequence[Box], origins: Array, directions: Array) -> tuple[Array, Array, Array]:
    """The first box that each ray meets from outside, by the slab method.

    Args:
        boxes: what rays can meet.
        origins: (N, 3), in metres.
        directions: (N, 3), unit length.

    Returns:
        distances (N,), infinite for rays that miss; normals (N, 3); albedos (N, 3).
    """
    inverse = 1.0 / np.where(np.abs(directions) < 1e-9, 1e-9, directions)
    distance = np.full(len(origins), np.inf)
    normals, albedos = np.zeros_like(directions), np.zeros_like(directions)
    for box in boxes:
        one, other = (vector(*box.low) - origins) * inverse, (vector(*box.high) - origins) * inverse
        enter = np.minimum(one, other)
        leave = np.min(np.maximum(one, other), axis=1)
        axis = np.argmax(enter, axis=1)
        entered = np.take_along_axis(enter, axis[:, None], axis=1)[:, 0]
        hit = np.flatnonzero((entered > 0) & (entered < leave) & (entered < distance))
        distance[hit] = entered[hit]
        normals[hit] = 0.0
        normals[hit, axis[hit]] = -np.sign(directions[hit, axis[hit]])
        albedos[hit] = vector(*box.albedo)
    return distance, normals, albedos
