"""Colours are converted to sRGB by the colour space that a file states."""

import io
import struct
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest.mock import Mock

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms

from app.core.images import colour, conversion
from app.core.images.colour import MAX_PROFILE_BYTES, MAX_TRANSFORMS, find_transform
from app.core.images.formats import SUPPORTED_FORMATS
from tests.support.icc import (
    ADOBE_RGB,
    DISPLAY_P3,
    PROPHOTO_RGB,
    SRGB,
    SRGB_CURVE,
    SWAPPED,
    Floats,
    cmyk_lab,
    grey_profile,
    huge_table,
    lab_to_srgb,
    matrix_profile,
    matrix_to_srgb,
    profile,
    table_profile,
)
from tests.support.photos import encoded, png, sample
from tests.support.pixels import decoded, pixels

MAX_ERROR = 2  # of 255: LittleCMS interpolates its tables

P3 = matrix_profile(DISPLAY_P3, SRGB_CURVE)
MATRICES: dict[str, tuple[Floats, float | str]] = {
    "Display P3": (DISPLAY_P3, SRGB_CURVE),
    "Adobe RGB": (ADOBE_RGB, 2.2),
    "ProPhoto RGB": (PROPHOTO_RGB, 1.8),
    "swapped": (SWAPPED, SRGB_CURVE),
    "gamma 2.2": (SRGB, 2.2),
    "linear": (SRGB, 1.0),
}
WRITERS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 90},
    "PNG": {},
    "WEBP": {"lossless": True},
    "TIFF": {"compression": "tiff_lzw"},
    "AVIF": {"quality": 90},
    "HEIF": {"quality": 90},
}
PHOTO = sample("coffee").resize((96, 64))


def assert_close(found: npt.NDArray[np.uint8], expected: Floats) -> None:
    assert np.abs(pixels(found) - expected).max() <= MAX_ERROR


def assert_p3(file: bytes, plain: bytes, **options: Any) -> None:
    """Check that a file has the pixels of a plain one, converted from Display P3."""
    samples = decoded(plain, **options).pixels
    assert_close(decoded(file, **options).pixels, matrix_to_srgb(samples, DISPLAY_P3, SRGB_CURVE))


def assert_unchanged(file: bytes, plain: bytes) -> None:
    assert np.array_equal(decoded(file).pixels, decoded(plain).pixels)


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("image_format", [each for each in WRITERS if each in SUPPORTED_FORMATS])
def test_rgb_profile_converts_to_srgb(image_format: str, name: str) -> None:
    options = WRITERS[image_format]
    plain = decoded(encoded(PHOTO, image_format, **options)).pixels
    file = encoded(PHOTO, image_format, icc_profile=matrix_profile(*MATRICES[name]), **options)
    assert_close(decoded(file).pixels, matrix_to_srgb(plain, *MATRICES[name]))


def test_jpeg_of_reduced_size_is_converted() -> None:
    photo = sample("coffee")
    file = encoded(photo, "JPEG", icc_profile=P3)
    assert decoded(file, min_side_px=80).source == "JPEG/4"
    assert_p3(file, encoded(photo, "JPEG"), min_side_px=80)


def test_profile_in_several_jpeg_segments_is_joined() -> None:
    large = matrix_profile(DISPLAY_P3, SRGB_CURVE, {b"zzzz": b"data" + bytes(200_000)})
    file = encoded(PHOTO, "JPEG", icc_profile=large)
    assert file.count(b"ICC_PROFILE\0") == 4
    assert_p3(file, encoded(PHOTO, "JPEG"))


@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
@pytest.mark.parametrize("rows", [7, 64, 0])
def test_photo_of_several_strips_is_converted(
    image_format: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (colour, conversion):
        monkeypatch.setattr(module, "STRIP_PIXELS", rows * PHOTO.width)
    assert_p3(encoded(PHOTO, image_format, icc_profile=P3), encoded(PHOTO, image_format))


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF"])
def test_grey_profile_converts_grey_image(image_format: str) -> None:
    grey = PHOTO.convert("L")
    plain = decoded(encoded(grey, image_format)).pixels
    file = encoded(grey, image_format, icc_profile=grey_profile(1.8))
    assert_close(decoded(file).pixels, matrix_to_srgb(plain, SRGB, 1.8))


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF"])
def test_rgb_profile_converts_grey_image(image_format: str) -> None:
    grey = PHOTO.convert("L")
    plain = decoded(encoded(grey, image_format)).pixels
    file = encoded(grey, image_format, icc_profile=matrix_profile(ADOBE_RGB, 1.8))
    assert_close(decoded(file).pixels, matrix_to_srgb(plain, ADOBE_RGB, 1.8))


@pytest.mark.parametrize("profile_of_16_bits", [grey_profile(1.8), matrix_profile(SRGB, 1.8)])
def test_profile_converts_16_bit_grey(profile_of_16_bits: bytes) -> None:
    image = Image.fromarray(np.arange(0, 65_536, 257, dtype=np.uint16).reshape(16, 16))
    expected = matrix_to_srgb(decoded(encoded(image, "PNG")).pixels, SRGB, 1.8)
    found = decoded(encoded(image, "PNG", icc_profile=profile_of_16_bits))
    assert_close(found.pixels, expected)


def test_profile_converts_16_bit_colour() -> None:
    samples = np.asarray(PHOTO).astype(">u2") * 257
    rows = b"".join(b"\0" + row.tobytes() for row in samples)
    file = png(*PHOTO.size, 16, 2, rows, iCCP=b"p\0\0" + zlib.compress(P3))
    assert_p3(file, png(*PHOTO.size, 16, 2, rows))


@pytest.mark.parametrize("image_format", ["PNG", "GIF", "TIFF"])
def test_profile_converts_palette_where_stored(image_format: str) -> None:
    palette = PHOTO.quantize(16)
    file, plain = encoded(palette, image_format, icc_profile=P3), encoded(palette, image_format)
    if image_format == "GIF":  # no profile
        assert_unchanged(file, plain)
    else:
        assert_p3(file, plain)


def composited(colours: Floats, alpha: npt.NDArray[np.uint8]) -> Floats:
    weight = alpha[..., None] / 255
    return colours * weight + 255 * (1 - weight)


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "TIFF"])
def test_colours_are_converted_before_compositing(image_format: str) -> None:
    image = PHOTO.copy()
    image.putalpha(Image.linear_gradient("L").resize(PHOTO.size))
    file = encoded(image, image_format, icc_profile=P3, lossless=True, exact=True)
    colours = matrix_to_srgb(np.asarray(PHOTO), DISPLAY_P3, SRGB_CURVE)
    assert_close(decoded(file).pixels, composited(colours, np.asarray(image)[..., 3]))


@pytest.mark.parametrize("stated", [grey_profile(1.8), matrix_profile(SRGB, 1.8)])
def test_grey_with_alpha_is_converted_before_compositing(stated: bytes) -> None:
    image = PHOTO.convert("L")
    colours = matrix_to_srgb(np.asarray(image.convert("RGB")), SRGB, 1.8)
    image.putalpha(Image.linear_gradient("L").resize(PHOTO.size))
    found = decoded(encoded(image, "PNG", icc_profile=stated))
    assert_close(found.pixels, composited(colours, np.asarray(image)[..., 1]))


@pytest.mark.parametrize("stated", [grey_profile(1.8), matrix_profile(SRGB, 1.8)])
def test_16_bit_grey_with_alpha_is_converted(stated: bytes) -> None:
    grey = np.asarray(PHOTO.convert("L"))
    alpha = np.asarray(Image.linear_gradient("L").resize(PHOTO.size))
    samples = np.stack([grey, alpha], -1).astype(">u2") * 257
    rows = b"".join(b"\0" + row.tobytes() for row in samples.astype(">u2"))
    found = decoded(png(*PHOTO.size, 16, 4, rows, iCCP=b"p\0\0" + zlib.compress(stated)))
    colours = matrix_to_srgb(np.stack([grey] * 3, -1), SRGB, 1.8)
    assert_close(found.pixels, composited(colours, alpha))


def test_palette_with_alpha_is_converted() -> None:
    palette = PHOTO.quantize(16)
    alpha = bytes(range(0, 256, 16))
    found = decoded(encoded(palette, "PNG", transparency=alpha, icc_profile=P3))
    colours = matrix_to_srgb(np.asarray(palette.convert("RGB")), DISPLAY_P3, SRGB_CURVE)
    weights = np.frombuffer(alpha, np.uint8)[np.asarray(palette)]
    assert_close(found.pixels, composited(colours, weights))


POINTS = 4
LEVELS = np.linspace(0, 255, POINTS).astype(np.uint8)  # samples at the points of a table


def every_colour(channels: int) -> npt.NDArray[np.uint8]:
    """All combinations of `LEVELS` as one row of flat squares of 8 x 8 pixels, (8, 8 * N, C)."""
    colours = np.stack(np.meshgrid(*[LEVELS] * channels, indexing="ij"), axis=-1)
    return np.tile(colours.reshape(1, -1, channels).repeat(8, axis=1), (8, 1, 1))


@pytest.mark.parametrize("kind", [b"mft1", b"mft2", b"mAB "])
@pytest.mark.parametrize(
    ("image_format", "options"),
    [("JPEG", {"quality": 100, "subsampling": 0}), ("TIFF", {"compression": "tiff_lzw"})],
)
def test_cmyk_is_converted_by_its_profile(
    image_format: str, options: dict[str, Any], kind: bytes
) -> None:
    lab = cmyk_lab(POINTS)
    image = Image.fromarray(every_colour(4), "CMYK")
    file = encoded(image, image_format, icc_profile=table_profile(kind, lab), **options)
    expected = np.tile(lab_to_srgb(lab).reshape(1, -1, 3).repeat(8, axis=1), (8, 1, 1))
    found = pixels(decoded(file).pixels)
    # Between the points of its own table, LittleCMS interpolates light tones by up to 5 of 255.
    assert np.abs(found - expected).max() <= 6
    assert np.abs(found - expected).mean() <= 1


def test_table_profile_converts_rgb() -> None:
    samples = every_colour(3)
    lab = np.stack(
        [samples[0, ::8, 1] / 2.55, samples[0, ::8, 0] / 4 - 32, samples[0, ::8, 2] / 4 - 32],
        axis=-1,
    )
    stated = table_profile(b"mft2", lab.reshape(POINTS, POINTS, POINTS, 3))
    found = decoded(encoded(Image.fromarray(samples), "PNG", icc_profile=stated)).pixels
    assert np.abs(pixels(found)[0, ::8] - lab_to_srgb(lab)).mean() <= 1


def test_cmyk_without_profile_uses_naive_formula() -> None:
    image = PHOTO.convert("CMYK")
    plain = encoded(image, "TIFF")
    assert np.array_equal(decoded(plain).pixels, np.asarray(image.convert("RGB")))
    assert_unchanged(encoded(image, "TIFF", icc_profile=P3), plain)


def test_lab_tiff_is_converted() -> None:
    chroma = np.arange(-32, 32, 8)
    grid = np.stack(np.meshgrid(np.arange(20, 220, 8), chroma, chroma), axis=-1)
    samples = grid.astype(np.uint8).reshape(40, 40, 3)
    file = encoded(Image.fromarray(samples, "LAB"), "TIFF")
    signed = samples.view(np.int8)
    lab = np.stack([samples[..., 0] / 2.55, signed[..., 1], signed[..., 2]], axis=-1)
    errors = np.abs(pixels(decoded(file).pixels) - lab_to_srgb(lab))
    assert errors.max() <= 8  # where colours are out of sRGB's range
    assert errors.mean() <= 0.5


@pytest.mark.parametrize(
    "stated",
    [
        pytest.param(matrix_profile(SRGB, SRGB_CURVE), id="version 2"),
        pytest.param(matrix_profile(np.round(SRGB, 4), SRGB_CURVE), id="rounded"),
        pytest.param(
            ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), id="version 4"
        ),
    ],
)
def test_srgb_profile_changes_nothing(stated: bytes) -> None:
    assert find_transform(stated, "RGB") is None
    assert find_transform(stated, "L") is None
    assert_unchanged(encoded(PHOTO, "JPEG", icc_profile=stated), encoded(PHOTO, "JPEG"))


def test_grey_profile_with_srgb_curve_changes_nothing() -> None:
    assert find_transform(grey_profile(SRGB_CURVE), "L") is None


SRGB_CHROMATICITY = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
P3_CHROMATICITY = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)


def gamma(value: int) -> bytes:
    return struct.pack(">I", value)


def chromaticity(*values: int) -> bytes:
    return struct.pack(">8I", *values)


P3_CHUNK = b"p\0\0" + zlib.compress(P3)
SRGB_CHUNK = b"p\0\0" + zlib.compress(matrix_profile(SRGB, SRGB_CURVE))
SAME = (SRGB, SRGB_CURVE)


@pytest.mark.parametrize(
    ("chunks", "colorants", "curve"),
    [
        pytest.param({"gAMA": gamma(100_000)}, SRGB, 1.0, id="gamma"),
        pytest.param({"gAMA": gamma(55_556)}, SRGB, 1.8, id="gamma of Macintosh"),
        pytest.param({"gAMA": gamma(45_455)}, *SAME, id="gamma of sRGB"),
        pytest.param(
            {"gAMA": gamma(45_455), "cHRM": chromaticity(*SRGB_CHROMATICITY)},
            *SAME,
            id="gamma and primaries of sRGB",
        ),
        pytest.param(
            {"gAMA": gamma(45_455), "cHRM": chromaticity(*P3_CHROMATICITY)},
            DISPLAY_P3,
            2.2,
            id="gamma and primaries",
        ),
        pytest.param({"cHRM": chromaticity(*P3_CHROMATICITY)}, *SAME, id="primaries alone"),
        pytest.param({"gAMA": gamma(0)}, *SAME, id="no gamma"),
        pytest.param({"gAMA": gamma(1)}, *SAME, id="gamma out of range"),
        pytest.param(
            {"gAMA": gamma(55_556), "cHRM": chromaticity(*[0] * 8)}, *SAME, id="no primaries"
        ),
        pytest.param(
            {"gAMA": gamma(55_556), "cHRM": chromaticity(*[33_333] * 8)}, *SAME, id="one point"
        ),
        pytest.param({"sRGB": b"\0", "gAMA": gamma(100_000)}, *SAME, id="sRGB before gamma"),
        pytest.param(
            {"gAMA": gamma(100_000), "iCCP": P3_CHUNK}, DISPLAY_P3, SRGB_CURVE,
            id="profile before gamma",
        ),
        pytest.param(
            {"sRGB": b"\0", "iCCP": P3_CHUNK}, DISPLAY_P3, SRGB_CURVE, id="profile before sRGB"
        ),
        pytest.param({"iCCP": SRGB_CHUNK, "gAMA": gamma(100_000)}, *SAME, id="sRGB profile"),
        pytest.param({"cICP": b"\x0c\x0d\0\1"}, DISPLAY_P3, SRGB_CURVE, id="code points"),
        pytest.param({"cICP": b"\x01\x08\0\1"}, SRGB, 1.0, id="linear by code points"),
        pytest.param({"cICP": b"\x01\x01\0\1"}, SRGB, 2.4, id="curve of video"),
        pytest.param(
            {"iCCP": P3_CHUNK, "cICP": b"\x01\x0d\0\1"}, *SAME, id="code points before profile"
        ),
        pytest.param({"cICP": b"\x09\x10\0\1"}, *SAME, id="PQ"),
        pytest.param({"cICP": b"\x02\x02\0\1"}, *SAME, id="unspecified"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_png_chunks_state_colour_space(
    chunks: dict[str, bytes], colorants: Floats, curve: float | str, mode: str
) -> None:
    image = PHOTO.convert(mode)
    rows = b"".join(b"\0" + row.tobytes() for row in np.asarray(image))
    colour_type = {"RGB": 2, "L": 0}[mode]
    found = decoded(png(PHOTO.width, PHOTO.height, 8, colour_type, rows, **chunks)).pixels
    samples = np.asarray(image.convert("RGB"))
    if colorants is SRGB and curve == SRGB_CURVE:
        assert np.array_equal(found, samples)
    else:
        assert_close(found, matrix_to_srgb(samples, colorants, curve))


def with_code_points(file: bytes, primaries: int, transfer: int) -> bytes:
    """Change primaries and transfer function in the nclx box of an AVIF or HEIF file."""
    at = file.index(b"colrnclx") + 8
    return file[:at] + struct.pack(">HH", primaries, transfer) + file[at + 4 :]


@pytest.mark.parametrize(
    ("primaries", "transfer", "colorants", "curve"),
    [
        pytest.param(12, 13, DISPLAY_P3, SRGB_CURVE, id="Display P3"),
        pytest.param(12, 1, DISPLAY_P3, SRGB_CURVE, id="curve of video"),
        pytest.param(1, 8, SRGB, 1.0, id="linear"),
        pytest.param(1, 1, *SAME, id="video"),
        pytest.param(2, 2, *SAME, id="unspecified"),
        pytest.param(9, 16, *SAME, id="PQ"),
    ],
)
@pytest.mark.parametrize(
    "image_format", [each for each in ("AVIF", "HEIF") if each in SUPPORTED_FORMATS]
)
def test_code_points_state_colour_space(
    image_format: str, primaries: int, transfer: int, colorants: Floats, curve: float | str
) -> None:
    plain = encoded(PHOTO, image_format, quality=90)
    samples = decoded(plain).pixels
    found = decoded(with_code_points(plain, primaries, transfer)).pixels
    if colorants is SRGB and curve == SRGB_CURVE:
        assert np.array_equal(found, samples)
    else:
        assert_close(found, matrix_to_srgb(samples, colorants, curve))


def bitmap(space: bytes, stated: bytes) -> bytes:
    """Build a bitmap with a header of version 5; Pillow writes only version 3."""
    rows = np.asarray(PHOTO)[::-1, :, ::-1].tobytes()
    head = struct.pack("<IiiHHIIiiII", 124, *PHOTO.size, 1, 24, 0, len(rows), 0, 0, 0, 0)
    head += bytes(16) + space + bytes(48) + struct.pack("<IIII", 4, 124 + len(rows), len(stated), 0)
    start = 14 + len(head)
    return struct.pack("<2sI4xI", b"BM", start + len(rows), start) + head + rows + stated


def test_profile_embedded_in_bitmap_is_converted() -> None:
    assert_p3(bitmap(b"DEBM", P3), encoded(PHOTO, "BMP"))


def test_profile_linked_by_bitmap_is_ignored() -> None:
    assert_unchanged(bitmap(b"KNIL", b"C:\\p3.icc\0"), encoded(PHOTO, "BMP"))


def test_colour_space_in_exif_is_ignored() -> None:
    tags = Image.Exif()
    tags.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ColorSpace] = 0xFFFF
    tags.get_ifd(ExifTags.IFD.Interop)[1] = "R03"  # Adobe RGB, by DCF
    assert_unchanged(encoded(PHOTO, "JPEG", exif=tags), encoded(PHOTO, "JPEG"))


UNUSABLE: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "not a profile": lambda: b"a photo of a beach" * 20,
    "header alone": lambda: P3[:128],
    "truncated": lambda: P3[:200],
    "no tags": lambda: profile(b"RGB ", {}),
    "too many tags": lambda: P3[:128] + b"\xff\xff\xff\xff" + P3[132:],
    "too large": lambda: P3 + bytes(MAX_PROFILE_BYTES),
    "of grey": lambda: grey_profile(1.8),
    "of CMYK": lambda: table_profile(b"mft1", cmyk_lab(3)),
    "device link": lambda: P3[:12] + b"link" + P3[16:],
    "named colours": lambda: P3[:12] + b"nmcl" + P3[16:],
    "huge table, 8 bits": lambda: huge_table(b"mft1"),
    "huge table, 16 bits": lambda: huge_table(b"mft2"),
    "huge table, version 4": lambda: huge_table(b"mAB "),
    "unknown table": lambda: huge_table(b"mpet"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_unusable_profile_is_ignored(name: str) -> None:
    stated = UNUSABLE[name]()
    assert find_transform(stated, "RGB") is None
    assert_unchanged(encoded(PHOTO, "JPEG", icc_profile=stated), encoded(PHOTO, "JPEG"))


def test_floating_point_table_is_ignored() -> None:
    tag = b"mpet" + struct.pack(">4xHHI", 3, 3, 0)  # a pipeline without stages: XYZ = RGB
    stated = matrix_profile(DISPLAY_P3, SRGB_CURVE, {b"D2B0": tag, b"D2B1": tag})
    assert_p3(encoded(PHOTO, "PNG", icc_profile=stated), encoded(PHOTO, "PNG"))


def test_profile_tag_of_wrong_type_is_ignored() -> None:
    file = encoded(PHOTO, "TIFF", tiffinfo={34675: "a text"})
    assert_unchanged(file, encoded(PHOTO, "TIFF"))


SEEDS = [
    ("RGB", P3),
    ("RGB", matrix_profile(ADOBE_RGB, 2.2)),
    ("L", grey_profile(1.8)),
    *(("CMYK", table_profile(kind, cmyk_lab(2))) for kind in (b"mft1", b"mft2", b"mAB ")),
]


@settings(max_examples=200, deadline=None)
@given(
    seed=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=4)), max_size=6),
    kept=st.floats(0.3, 1),
)
def test_damaged_profile_converts_or_is_ignored(
    seed: tuple[str, bytes], changes: list[tuple[int, bytes]], kept: float
) -> None:
    mode, original = seed
    file = io.BytesIO(original)
    for place, replacement in changes:
        file.seek(place)
        file.write(replacement)
    stated = file.getvalue()
    transform = find_transform(stated[: int(len(stated) * kept) if kept < 0.9 else None], mode)
    if transform is not None:
        image = Image.new(transform.input_mode, (2, 2))
        assert np.asarray(transform.apply(image)).shape == (2, 2, 3)


def test_transform_is_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    built = Mock(side_effect=colour._build)
    monkeypatch.setattr(colour, "_build", built)
    stated = matrix_profile(DISPLAY_P3, 1.7)
    first = find_transform(stated, "RGB")
    assert first is not None
    assert find_transform(bytes(bytearray(stated)), "P") is first
    assert built.call_count == 1


def test_cached_transforms_are_bounded() -> None:
    for number in range(MAX_TRANSFORMS + 5):
        find_transform(matrix_profile(DISPLAY_P3, 1.5 + number / 256), "RGB")
    assert len(colour._transforms) == MAX_TRANSFORMS


@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_threads_share_transform(mode: str) -> None:
    stated = P3 if mode == "RGB" else table_profile(b"mft2", cmyk_lab(3))
    file = encoded(sample("coffee").convert(mode), "JPEG", icc_profile=stated)
    expected = decoded(file).pixels
    with ThreadPoolExecutor(4) as pool:
        photos = list(pool.map(decoded, [file] * 12))
    assert all(np.array_equal(photo.pixels, expected) for photo in photos)
