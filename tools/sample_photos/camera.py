"""A pinhole camera."""

from dataclasses import dataclass

import numpy as np

from tools.sample_photos.arrays import Array, unit, vector


@dataclass(frozen=True, slots=True)
class Camera:
    """Where the camera is and looks; x is right, y is up, z is ahead.

    Attributes:
        position: in metres.
        target: a point in the centre of the photo, in metres.
        focal_length: in units of half the photo's height; 1 is a vertical view of 90 degrees.
    """

    position: tuple[float, float, float]
    target: tuple[float, float, float]
    focal_length: float

    def directions(self, x: Array, y: Array) -> Array:
        """Unit directions (N, 3) through points of the photo.

        Args:
            x: right of the centre, in half heights of the photo, (N,).
            y: above the centre, in half heights of the photo, (N,).
        """
        ahead = unit(vector(*self.target) - vector(*self.position))
        right = unit(np.cross(vector(0, 1, 0), ahead))
        up = np.cross(ahead, right)
        return unit(x[:, None] * right + y[:, None] * up + self.focal_length * ahead)
