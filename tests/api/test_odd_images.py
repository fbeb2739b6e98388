"""Unusual but valid image files are scored by the pixels that an image viewer shows."""

import io
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from tests.support.photos import encoded, png, sample
from tests.support.requests import multipart

TURNS = {  # transformation of the upright picture, by EXIF orientation
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def answers(client: httpx.Client, *files: bytes) -> list[dict[str, Any]]:
    answer = client.post("/predict", **multipart(*files, all_scores=True))
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    assert [result["status"] for result in results] == ["ok"] * len(files), answer.text
    return results


def scores(result: dict[str, Any]) -> dict[str, float]:
    return {label["id"]: label["confidence"] for label in result["labels"]}


def assert_seen_alike(client: httpx.Client, odd: bytes, plain: Image.Image, within: float) -> None:
    """The unusual file scores like the plain picture, and unlike another picture."""
    other = encoded(sample("flower").resize(plain.size), "PNG")
    first, second, third = answers(client, odd, encoded(plain.convert("RGB"), "PNG"), other)
    assert (first["width"], first["height"]) == plain.size
    assert scores(first) == pytest.approx(scores(second), abs=within)
    assert scores(first) != pytest.approx(scores(third), abs=max(0.05, 2 * within))


@pytest.fixture
def small() -> Image.Image:
    image = sample("chelsea")
    image.thumbnail((300, 200))
    return image


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "GIF", "BMP"])
def test_one_pixel_image_is_tagged(client: httpx.Client, image_format: str) -> None:
    file = encoded(Image.new("RGB", (1, 1), "teal"), image_format)
    (result,) = answers(client, file)
    assert (result["width"], result["height"]) == (1, 1)


@pytest.mark.parametrize("orientation", TURNS)
def test_exif_orientation_is_applied(
    client: httpx.Client, small: Image.Image, orientation: int
) -> None:
    turn = TURNS[orientation]
    stored = small if turn is None else small.transpose(turn)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    assert_seen_alike(client, encoded(stored, "PNG", exif=exif), small, within=1e-3)
    jpeg = encoded(stored, "JPEG", exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(jpeg)))
    assert upright.size == small.size
    assert_seen_alike(client, jpeg, upright, within=1e-3)


def test_animation_uses_first_frame(client: httpx.Client, small: Image.Image) -> None:
    first = small.quantize(256)
    frames = [Image.new("RGB", small.size, colour).quantize() for colour in ("red", "blue")]
    file = encoded(first, "GIF", save_all=True, append_images=frames)
    assert_seen_alike(client, file, first.convert("RGB"), within=1e-3)


@pytest.mark.parametrize("image_format", ["BMP", "TIFF"])
def test_lossless_formats_give_equal_scores(
    client: httpx.Client, small: Image.Image, image_format: str
) -> None:
    assert_seen_alike(client, encoded(small, image_format), small, within=1e-3)


def test_webp_gives_close_scores(client: httpx.Client, small: Image.Image) -> None:
    assert_seen_alike(client, encoded(small, "WEBP", lossless=True), small, within=1e-3)


def test_cmyk_jpeg_keeps_colours(client: httpx.Client, small: Image.Image) -> None:
    file = encoded(small.convert("CMYK"), "JPEG", quality=98, subsampling=0)
    assert_seen_alike(client, file, small, within=0.05)


def test_grey_jpeg_stays_grey(client: httpx.Client, small: Image.Image) -> None:
    grey = small.convert("L")
    assert_seen_alike(client, encoded(grey, "JPEG", quality=98), grey, within=0.05)


def test_16_bit_image_is_scaled_not_clipped(client: httpx.Client, small: Image.Image) -> None:
    grey = small.convert("L")
    wide = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    assert_seen_alike(client, encoded(wide, "PNG"), grey, within=1e-3)
    samples = np.asarray(small).astype(">u2") * 257
    rows = b"".join(b"\x00" + row.astype(">u2").tobytes() for row in samples)
    file = png(*small.size, 16, 2, rows)
    assert_seen_alike(client, file, small, within=1e-3)


def test_palette_is_applied(client: httpx.Client, small: Image.Image) -> None:
    palette = small.quantize(64)
    assert_seen_alike(client, encoded(palette, "PNG"), palette.convert("RGB"), within=1e-3)


def test_transparent_pixels_become_white(client: httpx.Client, small: Image.Image) -> None:
    mask = Image.new("L", small.size, 0)
    mask.paste(255, (0, 0, small.width // 2, small.height))
    clear = small.copy()
    clear.putalpha(mask)
    over_white = Image.new("RGB", small.size, "white")
    over_white.paste(small, mask=mask)
    assert_seen_alike(client, encoded(clear, "PNG"), over_white, within=1e-3)
    assert_seen_alike(client, encoded(clear, "WEBP", lossless=True), over_white, within=1e-3)
