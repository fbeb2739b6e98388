"""Valid and unusual image files decode to the correct pixels."""

import io
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from app.core.images.formats import SUPPORTED_FORMATS
from tests.support.photos import NAMES, encoded, png, sample
from tests.support.pixels import assert_same, decoded, exif, pixels

# The warning filters of pytest override the one that the module sets.
pytestmark = pytest.mark.filterwarnings(r"ignore::UserWarning:PIL\.")


def with_rows(samples: npt.NDArray[Any]) -> bytes:
    return b"".join(b"\x00" + row.tobytes() for row in samples)


FILES: list[tuple[str, dict[str, Any], float]] = [
    ("PNG", {}, 0.0),
    ("BMP", {}, 0.0),
    ("TIFF", {}, 0.0),
    ("TIFF", {"compression": "tiff_lzw"}, 0.0),
    ("WEBP", {"lossless": True}, 0.0),
    ("WEBP", {"quality": 90}, 4.0),
    ("JPEG", {"quality": 90}, 4.0),
    ("JPEG", {"quality": 90, "progressive": True}, 4.0),
    ("AVIF", {"quality": 90}, 4.0),
    ("HEIF", {"quality": 90}, 4.0),
    ("JXL", {"lossless": True}, 0.0),
    ("JXL", {"quality": 90}, 4.0),
]


@pytest.mark.parametrize(
    ("image_format", "options", "mean_error"),
    [file for file in FILES if file[0] in SUPPORTED_FORMATS],
)
def test_supported_formats_keep_pixels(
    image_format: str, options: dict[str, Any], mean_error: float
) -> None:
    photo = sample("chelsea")
    assert_same(decoded(encoded(photo, image_format, **options)), photo, mean_error)


@pytest.mark.parametrize("image_format", SUPPORTED_FORMATS)
def test_one_pixel_image_is_decoded(image_format: str) -> None:
    data = encoded(Image.new("RGB", (1, 1), (200, 100, 50)), image_format, quality=99)
    assert_same(decoded(data), Image.new("RGB", (1, 1), (200, 100, 50)), mean_error=3.0)


@pytest.mark.parametrize(
    ("image_format", "options"), [("GIF", {}), ("PNG", {}), ("WEBP", {"lossless": True})]
)
def test_animation_decodes_first_frame(image_format: str, options: dict[str, Any]) -> None:
    first, second = (sample(name).resize((160, 107)).quantize(64) for name in NAMES[2:])
    data = encoded(first, image_format, save_all=True, append_images=[second], **options)
    assert_same(decoded(data), first.convert("RGB"))


def test_mpo_decodes_first_image() -> None:
    photo = sample("china")
    data = encoded(photo, "MPO", save_all=True, append_images=[sample("flower")], quality=90)
    assert_same(decoded(data), photo, mean_error=4.0)


@pytest.mark.parametrize("mode", ["CMYK", "L"])
def test_cmyk_and_grey_jpegs_keep_colours(mode: str) -> None:
    photo = sample("coffee").convert(mode)
    assert_same(decoded(encoded(photo, "JPEG", quality=95)), photo.convert("RGB"), mean_error=4.0)


@pytest.mark.parametrize(("image_format", "mode"), [("PNG", "I;16"), ("TIFF", "I;16B")])
def test_16_bit_grey_is_scaled_not_clipped(image_format: str, mode: str) -> None:
    every_value = np.arange(65_536).reshape(256, 256)
    samples = every_value.astype(">u2" if mode == "I;16B" else "<u2")
    image = Image.frombytes(mode, (256, 256), samples.tobytes())
    expected = np.round(every_value / 257).astype(np.uint8)
    assert_same(decoded(encoded(image, image_format)), Image.fromarray(expected).convert("RGB"))


def test_16_bit_tiff_with_white_as_zero_is_inverted() -> None:
    samples = Image.fromarray(np.array([[0, 257, 65_535]], dtype=np.uint16))
    white_is_zero = {ExifTags.Base.PhotometricInterpretation: 0}
    photo = decoded(encoded(samples, "TIFF", tiffinfo=white_is_zero))
    assert pixels(photo.pixels)[0, :, 0].tolist() == [255, 254, 0]


@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (6, 4)])
def test_16_bit_colour_png_is_scaled(colour: int, channels: int) -> None:
    photo = sample("chelsea")
    samples = np.full((photo.height, photo.width, channels), 65_535, dtype=">u2")
    samples[..., :3] = np.asarray(photo).astype(np.uint16) * 257
    assert_same(decoded(png(*photo.size, 16, colour, with_rows(samples))), photo)


@pytest.mark.parametrize("image_format", ["PNG", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("colours", [2, 16, 256])
def test_palette_and_one_bit_images_are_decoded(image_format: str, colours: int) -> None:
    palette = sample("coffee").quantize(colours)
    for image in (palette, palette.convert("1")):
        assert_same(decoded(encoded(image, image_format)), image.convert("RGB"))


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_composited_over_white(image_format: str, mode: str) -> None:
    photo = sample("coffee").convert(mode[:-1])
    alpha = Image.linear_gradient("L").resize(photo.size)
    transparent = photo.copy()
    transparent.putalpha(alpha)
    weight = np.asarray(alpha)[..., None] / 255
    expected = pixels(photo.convert("RGB")) * weight + 255 * (1 - weight)
    found = decoded(encoded(transparent, image_format, lossless=True, exact=True))
    assert np.abs(pixels(found.pixels) - expected).max() <= 1


def test_grey_tiff_with_premultiplied_alpha_is_decoded() -> None:
    buffer = io.BytesIO()
    samples = np.array([[[0, 0], [64, 128], [128, 128], [255, 255]]], dtype=np.uint8)
    tifffile.imwrite(buffer, samples, photometric="minisblack", extrasamples=["assocalpha"])
    assert pixels(decoded(buffer.getvalue()).pixels)[0, :, 0].tolist() == [255, 191, 255, 255]


@pytest.mark.parametrize("image_format", ["PNG", "GIF"])
def test_transparent_palette_entry_is_white(image_format: str) -> None:
    palette = sample("coffee").quantize(16)
    expected = pixels(palette.convert("RGB"))
    expected[np.asarray(palette) == 3] = 255
    found = decoded(encoded(palette, image_format, transparency=3))
    assert np.array_equal(pixels(found.pixels), expected)


def test_half_transparent_palette_is_composited() -> None:
    palette = sample("coffee").quantize(16)
    weight = np.asarray(palette)[..., None] * 16 / 255
    expected = pixels(palette.convert("RGB")) * weight + 255 * (1 - weight)
    found = decoded(encoded(palette, "PNG", transparency=bytes(range(0, 256, 16))))
    assert np.abs(pixels(found.pixels) - expected).max() <= 1


@pytest.mark.parametrize(
    ("depth", "colour", "row", "transparent", "expected"),
    [
        pytest.param(1, 0, b"\x60", b"\x00\x01", [0, 255, 255, 0], id="1-bit grey"),
        pytest.param(2, 0, b"\x1b", b"\x00\x01", [0, 255, 170, 255], id="2-bit grey"),
        pytest.param(4, 0, b"\x01\x2f", b"\x00\x02", [0, 17, 255, 255], id="4-bit grey"),
        pytest.param(8, 0, b"\x00\x01\x02\xff", b"\x00\x02", [0, 1, 255, 255], id="8-bit grey"),
        pytest.param(
            16, 0, b"\x00\x00\x01\x01\x01\x02\xff\xff", b"\x01\x01", [0, 255, 1, 255], id="16-bit"
        ),
        pytest.param(
            8, 2, bytes([0] * 3 + [1] * 3 + [2] * 3 + [255] * 3), b"\x00\x02" * 3,
            [0, 1, 255, 255], id="RGB",
        ),
        pytest.param(
            16, 2, b"\x00\x09" * 3 + b"\x01\x09" * 3 + b"\x02\x09" * 3 + b"\xff\xff" * 3,
            b"\x02\x09" * 3, [0, 1, 255, 255], id="16-bit RGB",
        ),
    ],
)  # fmt: skip
def test_transparent_png_colour_is_white(
    depth: int, colour: int, row: bytes, transparent: bytes, expected: list[int]
) -> None:
    photo = decoded(png(4, 1, depth, colour, b"\x00" + row, tRNS=transparent))
    assert pixels(photo.pixels)[0].tolist() == [[value] * 3 for value in expected]


def stored(upright: Image.Image, orientation: int) -> Image.Image:
    """The stored pixels for an orientation: EXIF gives the sides of row 0 and column 0."""
    photo = np.asarray(upright)
    turned = {
        2: photo[:, ::-1],  # top, right
        3: photo[::-1, ::-1],  # bottom, right
        4: photo[::-1],  # bottom, left
        5: photo.transpose(1, 0, 2),  # left, top
        6: photo.transpose(1, 0, 2)[::-1],  # right, top
        7: photo.transpose(1, 0, 2)[::-1, ::-1],  # right, bottom
        8: photo.transpose(1, 0, 2)[:, ::-1],  # left, bottom
    }.get(orientation, photo)  # 1: top, left
    return Image.fromarray(np.ascontiguousarray(turned))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("image_format", "options", "mean_error"),
    [
        ("JPEG", {"quality": 95}, 3.0),
        ("PNG", {}, 0.0),
        ("WEBP", {"lossless": True}, 0.0),
        ("TIFF", {}, 0.0),
        ("TIFF", {"compression": "tiff_lzw"}, 0.0),
    ],
)
def test_exif_orientations_decode_upright(
    orientation: int, image_format: str, options: dict[str, Any], mean_error: float
) -> None:
    upright = sample("chelsea")
    sideways = stored(upright, orientation)
    data = encoded(sideways, image_format, exif=exif(orientation), **options)
    assert_same(decoded(data), upright, mean_error)
    if image_format != "TIFF":
        assert_same(decoded(data, exif_orientation=False), sideways, mean_error)


@pytest.mark.parametrize("value", [0, 9, 65_535])
def test_invalid_orientation_is_ignored(value: int) -> None:
    assert_same(decoded(encoded(sample("coffee"), "PNG", exif=exif(value))), sample("coffee"))


@settings(max_examples=150)
@given(garbage=st.binary(max_size=200), tiff=st.booleans(), segment=st.sampled_from(["exif", "mp"]))
def test_invalid_metadata_does_not_prevent_decoding(
    garbage: bytes, tiff: bool, segment: str
) -> None:
    photo = sample("chelsea").resize((48, 32))
    if tiff:
        garbage = b"II*\x00\x08\x00\x00\x00" + garbage
    jpeg = encoded(photo, "JPEG", quality=95)
    body = b"Exif\x00\x00" + garbage if segment == "exif" else b"MPF\x00" + garbage
    marker = b"\xff\xe1" if segment == "exif" else b"\xff\xe2"
    data = jpeg[:2] + marker + (len(body) + 2).to_bytes(2) + body + jpeg[2:]
    found = decoded(data, exif_orientation=False)
    assert_same(found, photo, mean_error=4.0)
    assert sorted((decoded(data).width, decoded(data).height)) == [32, 48]


def test_decoded_photo_does_not_reference_file() -> None:
    data = encoded(sample("china"), "PNG", exif=exif(1))
    references = sys.getrefcount(data)
    photo = decoded(data)
    assert sys.getrefcount(data) == references
    assert photo.pixels.flags.owndata


def test_concurrent_threads_decode_identically() -> None:
    data = encoded(sample("china"), "JPEG")
    with ThreadPoolExecutor(8) as pool:
        photos = list(pool.map(decoded, [data] * 32))
    assert {photo.pixels.tobytes() for photo in photos} == {photos[0].pixels.tobytes()}
