"""ICC profiles built by the tests, and the sRGB colours that they mean by float arithmetic.

Nothing here uses LittleCMS or the code under test. Colorants are those of the published profiles,
adapted to the white point D50.
"""

import struct
from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# XYZ of red, green and blue, one in each column.
SRGB = np.array(
    [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.7141]]
)
DISPLAY_P3 = np.array(
    [[0.51512, 0.29198, 0.1571], [0.2412, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]]
)
ADOBE_RGB = np.array(
    [[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]]
)
PROPHOTO_RGB = np.array(
    [[0.79767, 0.13519, 0.03134], [0.28804, 0.71188, 0.00009], [0.0, 0.0, 0.82491]]
)
SWAPPED = SRGB[:, [1, 2, 0]]  # red samples are shown as green, green as blue, blue as red
D50 = np.array([0.9642, 1, 0.8249])
SRGB_CURVE = "sRGB"  # instead of a gamma


def matrix_profile(
    colorants: Floats, curve: float | str, extra: Mapping[bytes, bytes] | None = None
) -> bytes:
    """Build the profile of an RGB space.

    Args:
        colorants: XYZ of red, green and blue in the columns.
        curve: a gamma, or `SRGB_CURVE`.
        extra: further tags.
    """
    tags = {
        name + suffix: tag
        for name, xyz in zip((b"r", b"g", b"b"), colorants.T, strict=True)
        for suffix, tag in ((b"XYZ", _xyz(xyz)), (b"TRC", _curve(curve)))
    }
    return profile(b"RGB ", {**tags, **(extra or {})})


def grey_profile(curve: float | str) -> bytes:
    """Build the profile of a grey space."""
    return profile(b"GRAY", {b"kTRC": _curve(curve)})


def table_profile(kind: bytes, lab: Floats) -> bytes:
    """Build a profile with a colour table to CIE L*a*b*.

    Args:
        kind: type of the table: mft1, mft2 or "mAB ".
        lab: (N, ..., N, 3), with an axis of N points for each channel: three for RGB, four for
            CMYK.
    """
    channels, points = lab.ndim - 1, lab.shape[0]
    shape = bytes([channels, 3])
    light, a, b = np.moveaxis(lab, -1, 0)
    match kind:
        case b"mft1":
            ramp = bytes(range(256))
            values = np.stack([light * 2.55, a + 128, b + 128], axis=-1)
            table = np.round(values).astype(np.uint8).tobytes()
            body = shape + bytes([points, 0]) + _identity_matrix()
            body += ramp * channels + table + ramp * 3
        case b"mft2":
            ramp = b"\0\0\xff\xff"
            values = np.stack([light * 652.8, (a + 128) * 256, (b + 128) * 256], axis=-1)
            table = np.round(values).astype(">u2").tobytes()
            body = shape + bytes([points, 0]) + _identity_matrix() + struct.pack(">HH", 2, 2)
            body += ramp * channels + table + ramp * 3
        case _:
            values = np.stack([light * 655.35, (a + 128) * 257, (b + 128) * 257], axis=-1)
            table = np.round(values).astype(">u2").tobytes()
            grid = bytes([points] * channels).ljust(16, b"\0") + b"\x02\0\0\0"
            curves = 32 + 3 * 12
            tables = curves + channels * 12
            body = shape + struct.pack(">2x5I", 32, 0, 0, tables, curves)
            body += (b"curv" + bytes(8)) * (3 + channels) + grid + table
    space = {3: b"RGB ", 4: b"CMYK"}[channels]
    return profile(space, {b"A2B0": kind + bytes(4) + body}, connection=b"Lab ")


def profile(
    space: bytes,
    tags: Mapping[bytes, bytes],
    connection: bytes = b"XYZ ",
    device_class: bytes = b"mntr",
) -> bytes:
    """Assemble a profile from its tags."""
    places, body, start = b"", b"", 132 + 12 * len(tags)
    for name, tag in tags.items():
        places += name + struct.pack(">II", start + len(body), len(tag))
        body += tag + bytes(-len(tag) % 4)
    size = start + len(body)
    head = struct.pack(">I4xI4s4s4s", size, 0x02400000, device_class, space, connection)
    head += bytes(12) + b"acsp" + bytes(28) + _fixed(*D50)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + places + body


def huge_table(kind: bytes) -> bytes:
    """Build an RGB profile whose table has 255 points in each channel, and no data."""
    tag = kind + bytes(4) + bytes([3, 3, 255, 0]) + bytes(40)
    if kind == b"mAB ":
        tag = kind + bytes(4) + bytes([3, 3, 0, 0]) + struct.pack(">5I", 32, 0, 0, 32, 32)
        tag += bytes([255] * 3).ljust(16, b"\0") + b"\x02\0\0\0"
    return profile(b"RGB ", {b"A2B0": tag}, connection=b"Lab ")


def many_stages() -> bytes:
    """Build an RGB profile with a pipeline of 50,000 stages that are all the same matrix."""
    number, matrix = 50_000, b"matf" + struct.pack(">4xHH12f", 3, 3, *np.eye(3).ravel(), 0, 0, 0)
    head = b"mpet" + struct.pack(">4xHHI", 3, 3, number)
    place = struct.pack(">II", len(head) + 8 * number, len(matrix))
    return matrix_profile(SRGB, SRGB_CURVE, {b"D2B1": head + place * number + matrix})


def cmyk_lab(points: int) -> Floats:
    """Return the (points, points, points, points, 3) L*a*b* of an imaginary press.

    Inks are weaker than in the naive formula, and black is brownish and not quite dark.
    """
    inks = np.array([[62, -30, -45], [55, 60, -5], [90, -5, 80], [25, 6, 9]])
    steps = np.linspace(0, 1, points)
    table = np.empty((points,) * 4 + (3,))
    for index in product(range(points), repeat=4):
        amounts = steps[list(index)]
        light = 100 * np.prod(1 - amounts * (1 - inks[:, 0] / 100))
        table[index] = (light, *(amounts * light / 100) @ inks[:, 1:])
    return table


def matrix_to_srgb(samples: npt.ArrayLike, colorants: Floats, curve: float | str) -> Floats:
    """Return the sRGB values, 0 to 255, of 8-bit samples (..., 3) of a matrix profile."""
    return xyz_to_srgb(_linear(np.asarray(samples) / 255, curve) @ colorants.T)


def lab_to_srgb(lab: npt.ArrayLike) -> Floats:
    """Return the sRGB values, 0 to 255, of L*a*b* values (..., 3) with white point D50."""
    light, a, b = np.moveaxis(np.asarray(lab, dtype=float), -1, 0)
    middle = (light + 16) / 116
    cubes = np.stack([middle + a / 500, middle, middle - b / 200], axis=-1)
    linear = 3 * (6 / 29) ** 2 * (cubes - 4 / 29)
    return xyz_to_srgb(np.where(cubes > 6 / 29, cubes**3, linear) * D50)


def xyz_to_srgb(xyz: Floats) -> Floats:
    """Return the sRGB values, 0 to 255, of XYZ values (..., 3) with white point D50."""
    linear = np.clip(xyz @ np.linalg.inv(SRGB).T, 0, 1)
    return 255 * np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055
    )


def _linear(samples: Floats, curve: float | str) -> Floats:
    if curve != SRGB_CURVE:
        return samples ** float(curve)
    return np.where(samples <= 0.04045, samples / 12.92, ((samples + 0.055) / 1.055) ** 2.4)


def _xyz(values: Sequence[float] | Floats) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(*values)


def _curve(curve: float | str) -> bytes:
    """Encode a curve: a gamma as one number, sRGB's as 1,024 points."""
    if curve != SRGB_CURVE:
        return b"curv" + struct.pack(">4xIH", 1, round(float(curve) * 256))
    points = np.round(65_535 * _linear(np.linspace(0, 1, 1024), curve)).astype(">u2")
    return b"curv" + struct.pack(">4xI", len(points)) + points.tobytes()


def _identity_matrix() -> bytes:
    return _fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)


def _fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65_536) for value in values))
