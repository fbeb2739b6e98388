"""JPEGs decode to the same pixels as with Pillow, at full size and scaled."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.support.photos import NAMES, encoded, sample
from tests.support.pixels import assert_same, decoded, exif, pixels


@settings(max_examples=25)
@given(
    width=st.integers(1, 1500),
    height=st.integers(1, 1500),
    min_side_px=st.integers(1, 500),
    orientation=st.integers(1, 8),
)
def test_scaled_jpeg_keeps_min_side(
    width: int, height: int, min_side_px: int, orientation: int
) -> None:
    image = Image.new("RGB", (width, height), "teal")
    photo = decoded(encoded(image, "JPEG", exif=exif(orientation)), min_side_px=min_side_px)
    expected = (height, width) if orientation >= 5 else (width, height)
    assert (photo.width, photo.height) == expected
    assert min(photo.pixels.shape[:2]) >= min(min_side_px, width, height)


@pytest.mark.parametrize("name", NAMES)
def test_scaled_jpeg_is_close_to_full_decode_after_resize(name: str) -> None:
    photo = sample(name).resize((2400, 1600), Image.Resampling.LANCZOS)
    data = encoded(photo, "JPEG", quality=90)
    scaled, whole = decoded(data, min_side_px=400), decoded(data)
    assert scaled.pixels.shape == (400, 600, 3)
    assert (scaled.width, scaled.height) == (2400, 1600) == whole.pixels.shape[1::-1]
    small = [pixels(Image.fromarray(photo.pixels).resize((200, 200))) for photo in (scaled, whole)]
    assert np.abs(small[0] - small[1]).mean() < 1.0


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_full_size_jpeg_equals_pillow(mode: str, subsampling: str, progressive: bool) -> None:
    photo = sample("flower").convert(mode).resize((317, 211))  # not a multiple of the block size
    data = encoded(photo, "JPEG", quality=75, subsampling=subsampling, progressive=progressive)
    assert_same(decoded(data), Image.open(io.BytesIO(data)).convert("RGB"), mean_error=0.0)


@pytest.mark.parametrize(("width", "height"), [(2400, 1601), (1999, 3001)])
def test_scaled_jpeg_equals_pillow(width: int, height: int) -> None:
    data = encoded(sample("chelsea").resize((width, height)), "JPEG", quality=80)
    theirs = Image.open(io.BytesIO(data))
    theirs.draft(None, (200, 200))
    assert np.array_equal(decoded(data, min_side_px=200).pixels, np.asarray(theirs))


def test_jpeg_rejected_by_libjpeg_turbo_is_decoded_by_pillow() -> None:
    data = encoded(sample("coffee"), "JPEG", quality=90)
    scan = data.index(b"\xff\xda")
    odd = data[:scan] + b"extraneous" + data[scan:]
    assert_same(decoded(odd), Image.open(io.BytesIO(data)))
