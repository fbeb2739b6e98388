"""Sky: gradient, sun with glow, and a layer of clouds."""

from dataclasses import dataclass

import numpy as np

from tools.sample_photos.arrays import Array, dot, mix, smoothstep, unit, vector
from tools.sample_photos.noise import fbm

Colour = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Clouds:
    """A flat layer of clouds.

    Attributes:
        scale: size of a cloud in multiples of the layer's height above the camera.
        coverage: 0 (clear) to 1 (closed).
        lit: linear colour of thin clouds, which the light passes through.
        shaded: linear colour of thick clouds.
        seed: chooses the clouds.
        stretch: how much longer clouds are across the view than along it.
    """

    scale: float
    coverage: float
    lit: Colour
    shaded: Colour
    seed: int
    stretch: float = 1.0


@dataclass(frozen=True, slots=True)
class Sky:
    """The light from above.

    Attributes:
        zenith: linear colour overhead.
        horizon: linear colour at the horizon.
        sun: direction to the sun, of any length.
        sunlight: linear colour of the sun's disc and glow.
        glow: radiance of the glow round the sun.
        disc: radiance of the disc.
        falloff: above 1 keeps the colour of the horizon close to it.
        clouds: a layer of clouds, if any.
    """

    zenith: Colour
    horizon: Colour
    sun: tuple[float, float, float]
    sunlight: Colour
    glow: float = 0.5
    disc: float = 30.0
    falloff: float = 3.0
    clouds: Clouds | None = None

    @property
    def sun_direction(self) -> Array:
        """Unit direction to the sun, (3,)."""
        return unit(vector(*self.sun))

    def radiance(self, directions: Array) -> Array:
        """Linear radiance (N, 3) from unit directions (N, 3), mirrored below the horizon."""
        up = np.abs(directions[:, 1])
        colour = mix(vector(*self.zenith), vector(*self.horizon), (1.0 - up) ** self.falloff)
        towards = np.clip(dot(directions, self.sun_direction), 0.0, 1.0)
        glow = 0.25 * towards**8 + 0.6 * towards**64 + 1.5 * towards**600
        colour += (self.glow * glow)[:, None] * vector(*self.sunlight)
        disc = self.disc * smoothstep(0.99935, 0.99955, towards)
        if self.clouds is not None:
            cover, cloud_colour = self._clouds(self.clouds, directions, up, towards)
            colour = mix(colour, cloud_colour, cover)
            disc *= (1.0 - cover) ** 2
        return colour + disc[:, None] * vector(*self.sunlight)

    def _clouds(
        self, clouds: Clouds, directions: Array, up: Array, towards: Array
    ) -> tuple[Array, Array]:
        """Return the opacity (N,) and colour (N, 3) of the clouds."""
        height = up + 0.06  # the layer follows the earth's curvature to the horizon
        x = directions[:, 0] / height / clouds.scale / clouds.stretch
        z = directions[:, 2] / height / clouds.scale
        density = fbm(x + 0.35 * fbm(x * 2, z * 2, 3, clouds.seed + 50), z, 7, clouds.seed)
        thickness = np.clip((density + clouds.coverage - 0.5) * 2.2, 0.0, 1.0)
        # Towards the horizon the line of sight crosses more haze than cloud.
        opacity = smoothstep(0.0, 0.45, thickness) * smoothstep(0.0, 0.06, up)
        silver = (0.4 + 1.6 * towards**24)[:, None] * vector(*self.sunlight) * self.glow
        lit = vector(*clouds.lit) + silver
        colour = mix(lit, vector(*clouds.shaded), smoothstep(0.1, 0.9, thickness))
        return opacity, colour
