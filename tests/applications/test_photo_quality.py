"""Quality of photos: dark, blurred and text-heavy copies of real ones are recognised."""

import pytest
import torch
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from app.applications.gallery import Quality, flaw_error, measure_quality
from app.core.images import ImageLimits, Preprocess, load_pixels
from tests.support.photos import NAMES, encoded, sample

HALF = (0.5, 0.5, 0.5)
PREPROCESS = Preprocess(size_px=288, mean=HALF, std=HALF, interpolation="bicubic")


def measured(image: Image.Image) -> Quality:
    photo = load_pixels(encoded(image, "PNG"), ImageLimits(), PREPROCESS)
    return measure_quality(photo.values)


def page_of_text() -> Image.Image:
    page = Image.new("RGB", (600, 400), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(22)
    for top in range(10, 380, 30):
        draw.text((10, top), "breakfast from 7 to 10, book now, free parking", "black", font)
    return page


@pytest.mark.parametrize("name", NAMES)
def test_good_photo_has_no_flaw(name: str) -> None:
    assert measured(sample(name)).flaw is None


@pytest.mark.parametrize("name", NAMES)
def test_dark_copy_is_too_dark(name: str) -> None:
    dark = sample(name).point(lambda value: int(0.12 * value))
    assert measured(dark).flaw == "too_dark"


@pytest.mark.parametrize("name", NAMES)
def test_blurred_copy_is_blurred(name: str) -> None:
    image = sample(name)
    blurred = image.filter(ImageFilter.GaussianBlur(0.015 * max(image.size)))
    assert measured(blurred).flaw == "blurred"


def test_page_of_text_is_text_heavy() -> None:
    quality = measured(page_of_text())
    assert quality.flaw == "text_heavy"
    assert quality.text > 0.3


def test_blur_lowers_score() -> None:
    image = sample("coffee")
    assert measured(image.filter(ImageFilter.GaussianBlur(2))).score < measured(image).score


@pytest.mark.parametrize("value", [0, 255])
def test_plain_image_has_finite_measures(value: int) -> None:
    quality = measure_quality(torch.full((3, 288, 288), value, dtype=torch.uint8))
    assert (quality.sharpness, quality.text) == (0, 0)
    assert quality.brightness == pytest.approx(value / 255)
    assert quality.contrast == pytest.approx(0, abs=1e-6)


def test_input_smaller_than_a_tile_has_no_text() -> None:
    assert measure_quality(torch.zeros(3, 12, 12, dtype=torch.uint8)).text == 0


def test_error_of_flaw_says_measure_and_limit() -> None:
    error = flaw_error(Quality(sharpness=0.6, brightness=0.04, contrast=0.1, text=0.0))
    assert error.code == "too_dark"
    assert "brightness 0.04, at least 0.1" in error.message
