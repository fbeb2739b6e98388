"""The colour space that an image file states, as an ICC profile.

An embedded ICC profile is used as it is. Other statements are written as one: code points of
ITU-T H.273 in PNG (cICP), AVIF and HEIF (nclx), and gamma and primaries in PNG (gAMA, cHRM). Where
a file states several, the order is that of browsers and of PNG's third edition.
"""

import math
import struct
import zlib
from functools import lru_cache
from itertools import islice

import numpy as np
import numpy.typing as npt
from PIL import Image

from app.core.images.boxes import read_boxes

# x and y of red, green, blue and white.
Primaries = tuple[tuple[float, float], ...]
# Parameters g, a, b, c, d of ICC's parametric curve type 3: (a x + b)^g from d on, below it c x.
Curve = tuple[float, float, float, float, float]

_D65 = (0.3127, 0.329)
SRGB_PRIMARIES: Primaries = ((0.64, 0.33), (0.3, 0.6), (0.15, 0.06), _D65)
SRGB_CURVE: Curve = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
# Video is shown by the curve of displays (ITU-R BT.1886), not by the inverse of the cameras'.
_BT1886_CURVE: Curve = (2.4, 1, 0, 0, 0)
# ITU-T H.273, tables 2 and 3. PQ (16) and HLG (18) are missing: they need tone mapping.
_PRIMARIES: dict[int, Primaries] = {
    1: SRGB_PRIMARIES,
    4: ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), (0.31, 0.316)),
    5: ((0.64, 0.33), (0.29, 0.6), (0.15, 0.06), _D65),
    6: ((0.63, 0.34), (0.31, 0.595), (0.155, 0.07), _D65),
    7: ((0.63, 0.34), (0.31, 0.595), (0.155, 0.07), _D65),
    9: ((0.708, 0.292), (0.17, 0.797), (0.131, 0.046), _D65),
    11: ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06), (0.314, 0.351)),
    12: ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06), _D65),
}
_CURVES: dict[int, Curve] = {
    1: _BT1886_CURVE,
    4: (2.2, 1, 0, 0, 0),
    5: (2.8, 1, 0, 0, 0),
    6: _BT1886_CURVE,
    8: (1, 1, 0, 0, 0),
    13: SRGB_CURVE,
    14: _BT1886_CURVE,
    15: _BT1886_CURVE,
}
_BT709_TRANSFERS = {1, 6, 14, 15}
_SRGB_TRANSFER = 13
# A PNG with the gamma of sRGB, 1 / 2.2, means sRGB's curve; libpng has the same tolerance.
_SRGB_GAMMA, _GAMMA_TOLERANCE = 1 / 2.2, 0.05

_MAX_BOXES = 1000  # in one container

_D50 = np.array([0.9642, 1, 0.8249])
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


def read_profile(image: Image.Image, data: bytes) -> bytes | None:
    """Return the colour space of an image as an ICC profile.

    Args:
        image: the opened file; its pixels need not be decoded.
        data: the whole file.

    Returns:
        The profile, untrusted; None if the file states none, or one that is not converted.
    """
    if image.format == "PNG" and (code_points := _png_code_points(data)):
        return _profile_of_code_points(*code_points)
    embedded = image.info.get("icc_profile")
    if isinstance(embedded, bytes) and embedded:
        return embedded
    match image.format:
        case "PNG" if "srgb" not in image.info and "gamma" in image.info:
            return _profile_of_gamma(image.info["gamma"], image.info.get("chromaticity"))
        case "AVIF" | "HEIF" if code_points := _container_code_points(data):
            primaries, transfer = code_points
            # Browsers show video's transfer function as sRGB's, which encoders mean by it.
            return _profile_of_code_points(
                primaries, _SRGB_TRANSFER if transfer in _BT709_TRANSFERS else transfer
            )
        case "BMP":
            return _bmp_profile(data)
    return None


@lru_cache(maxsize=32)
def rgb_profile(primaries: Primaries, curve: Curve) -> bytes | None:
    """Write an ICC profile, version 4, of an RGB colour space.

    Args:
        primaries: x and y of red, green, blue and white.
        curve: the transfer function of all channels.

    Returns:
        The profile; None if the primaries span no colour space, or a number is out of ICC's range.
    """
    if not all(0 < y <= 1 and 0 <= x <= 1 for x, y in primaries):
        return None
    *columns, white = (np.array([x / y, 1, (1 - x - y) / y]) for x, y in primaries)
    cones = _BRADFORD @ white
    if abs(np.linalg.det(matrix := np.stack(columns, axis=1))) < 1e-6 or (cones <= 0).any():
        return None
    adapt = np.linalg.inv(_BRADFORD) @ np.diag(_BRADFORD @ _D50 / cones) @ _BRADFORD
    colorants = adapt @ (matrix * np.linalg.solve(matrix, white))
    try:
        tags = {
            b"wtpt": _xyz_tag(_D50),
            b"rXYZ": _xyz_tag(colorants[:, 0]),
            b"gXYZ": _xyz_tag(colorants[:, 1]),
            b"bXYZ": _xyz_tag(colorants[:, 2]),
            b"rTRC": b"para\0\0\0\0\0\x03\0\0" + _fixed(*curve),
        }
    except struct.error:
        return None
    return _icc_file(tags, {b"gTRC": b"rTRC", b"bTRC": b"rTRC"})


def _profile_of_code_points(primaries: int, transfer: int) -> bytes | None:
    if primaries not in _PRIMARIES or transfer not in _CURVES:
        return None
    return rgb_profile(_PRIMARIES[primaries], _CURVES[transfer])


def _profile_of_gamma(gamma: float, chromaticity: tuple[float, ...] | None) -> bytes | None:
    """Return the profile of a PNG's gAMA and cHRM; cHRM alone is ignored, as in browsers."""
    if gamma <= 0:
        return None
    primaries = SRGB_PRIMARIES
    if chromaticity:
        white, *rgb = zip(chromaticity[::2], chromaticity[1::2], strict=True)
        primaries = (*rgb, white)
    if primaries == SRGB_PRIMARIES and math.isclose(gamma, _SRGB_GAMMA, rel_tol=_GAMMA_TOLERANCE):
        return None
    return rgb_profile(primaries, (1 / gamma, 1, 0, 0, 0))


def _png_code_points(data: bytes) -> tuple[int, int] | None:
    """Read primaries and transfer function of a PNG's cICP chunk, which Pillow ignores."""
    at = data.find(b"\0\0\0\x04cICP", 0, data.find(b"IDAT"))
    if at < 0 or zlib.crc32(data[at + 4 : at + 12]).to_bytes(4) != data[at + 12 : at + 16]:
        return None
    return data[at + 8], data[at + 9]


def _container_code_points(data: bytes) -> tuple[int, int] | None:
    """Read primaries and transfer function of the first nclx box of an AVIF or HEIF file."""
    start, end = 0, len(data)
    for kind, header_bytes in ((b"meta", 4), (b"iprp", 0), (b"ipco", 0)):
        boxes = islice(read_boxes(data, start, end), _MAX_BOXES)
        box = next((box for box in boxes if box.kind == kind), None)
        if box is None:
            return None
        start, end = box.start + header_bytes, box.end
    for box in islice(read_boxes(data, start, end), _MAX_BOXES):
        content = data[box.start : min(box.end, box.start + 8)]
        if box.kind == b"colr" and content[:4] == b"nclx" and len(content) == 8:
            primaries, transfer = struct.unpack_from(">HH", content, 4)
            return primaries, transfer
    return None


def _bmp_profile(data: bytes) -> bytes | None:
    """Return the ICC profile that is embedded in a bitmap with a header of version 5."""
    if int.from_bytes(data[14:18], "little") < 124 or data[70:74] != b"DEBM":  # MBED, reversed
        return None
    offset, size = struct.unpack_from("<II", data, 126)
    return data[14 + offset : 14 + offset + size] or None


def _icc_file(tags: dict[bytes, bytes], links: dict[bytes, bytes]) -> bytes:
    """Assemble a profile of an RGB display; links are tags that share the data of another."""
    start = 132 + 12 * (len(tags) + len(links))
    places, body = {}, b""
    for name, tag in tags.items():
        places[name] = (start + len(body), len(tag))
        body += tag + bytes(-len(tag) % 4)
    places |= {name: places[target] for name, target in links.items()}
    directory = b"".join(name + struct.pack(">II", *place) for name, place in places.items())
    header = struct.pack(
        ">I4sI4s4s4s12x4s28x12s48xI",
        start + len(body), b"", 0x04300000, b"mntr", b"RGB ", b"XYZ ", b"acsp", _fixed(*_D50),
        len(places),
    )  # fmt: skip
    return header + directory + body


def _xyz_tag(xyz: npt.NDArray[np.float64]) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(*xyz)


def _fixed(*values: float) -> bytes:
    """Encode numbers as ICC's s15Fixed16."""
    return struct.pack(f">{len(values)}i", *(round(value * 65_536) for value in values))
