"""JPEG XL files decode to their pixels, within the limits."""

import io
from typing import Any

import numpy as np
import pillow_jxl
import pytest
from PIL import Image

from app.core.images.decoding import decode
from app.core.images.jxl import MAX_EXTRA_CHANNELS, read_jxl_header
from app.core.images.limits import ImageLimits
from app.errors import ImageError
from tests.support.bombs import jxl
from tests.support.photos import encoded, sample
from tests.support.pixels import assert_same, decoded, exif

PHOTO = sample("coffee").resize((120, 81))


def lossless(image: Image.Image = PHOTO, **options: Any) -> bytes:
    return encoded(image, "JXL", lossless=True, **options)


@pytest.mark.parametrize("container", [False, True])
def test_codestream_and_container_decode(container: bool) -> None:
    data = lossless(use_container=container)
    assert data.startswith(b"\xff\x0a") is not container
    assert_same(decoded(data), PHOTO)
    assert decoded(data).source == "JXL"


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA"])
def test_other_modes_decode(mode: str) -> None:
    assert_same(decoded(lossless(PHOTO.convert(mode))), PHOTO.convert(mode).convert("RGB"))


def test_16_bit_grey_is_scaled_and_converted_from_linear_light() -> None:
    samples = np.asarray(PHOTO.convert("L"))
    image = Image.fromarray(samples.astype(np.uint16) * 257)  # the encoder states linear light
    light = samples / 255
    curve = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    found = decoded(lossless(image)).pixels
    assert np.abs(found - curve[..., None] * 255).mean() <= 1


def test_alpha_is_composited_over_white() -> None:
    transparent = PHOTO.copy()
    transparent.putalpha(0)
    assert decoded(lossless(transparent)).pixels.min() == 255


def test_exif_orientation_of_the_container_is_ignored() -> None:
    data = lossless(exif=exif(6).tobytes(), use_container=True)
    assert b"Exif" in data
    assert_same(decoded(data), PHOTO)


def test_recompressed_jpeg_is_turned_once() -> None:
    jpeg = encoded(PHOTO, "JPEG", quality=95, exif=exif(6))
    options: dict[str, Any] = {"mode": "RGB", "quality": 90.0, "decoding_speed": 0, "effort": 3}
    options |= {"lossless": False, "use_container": True, "use_original_profile": False}
    data = pillow_jxl.Encoder(num_threads=0, **options)(jpeg, *PHOTO.size, jpeg_encode=True)
    upright = PHOTO.transpose(Image.Transpose.ROTATE_270)
    assert_same(decoded(data), upright, mean_error=4)
    assert_same(decoded(data, exif_orientation=False), upright, mean_error=4)


@pytest.mark.parametrize("size", [(8, 8), (256, 256), (120, 90), (1, 700), (640, 360), (33, 34)])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_header_has_the_size_of_the_picture(size: tuple[int, int], mode: str) -> None:
    header = read_jxl_header(lossless(Image.new(mode, size), effort=1))
    assert (header.width, header.height) == size
    assert header.extra_channels == (mode == "RGBA")
    assert not header.animated


def test_pixel_limit_is_checked_before_decoding() -> None:
    with pytest.raises(ImageError) as caught:
        decode(lossless(), ImageLimits(max_pixels=120 * 81 - 1), min_side_px=1)
    assert caught.value.code == "too_many_pixels"


def test_extra_channels_are_limited() -> None:
    assert read_jxl_header(jxl(8, extra_channels=MAX_EXTRA_CHANNELS)).extra_channels == 4
    with pytest.raises(ImageError) as caught:
        decoded(jxl(8, extra_channels=MAX_EXTRA_CHANNELS + 1))
    assert caught.value.code == "unsupported_format"
    assert "5 extra channels" in caught.value.message


def test_animation_is_refused() -> None:
    # Small size of 8 x 8, a ratio of 1; not the default metadata; extra fields: upright, no
    # intrinsic size, no preview, an animation.
    bits = "1" + "00000" + "100" + "0" + "1" + "000" + "0" + "0" + "1"
    data = b"\xff\x0a" + int(bits[::-1], 2).to_bytes(3, "little") + bytes(64)
    assert read_jxl_header(data).animated
    with pytest.raises(ImageError) as caught:
        decoded(data)
    assert caught.value.code == "unsupported_format"
    assert "animations" in caught.value.message


@pytest.mark.parametrize("container", [False, True])
@pytest.mark.parametrize("kept", [0.01, 0.5, 0.99])
def test_truncated_jxl_is_corrupt(kept: float, container: bool) -> None:
    data = lossless(use_container=container)
    with pytest.raises(ImageError) as caught:
        decoded(data[: max(int(len(data) * kept), 13)])
    assert caught.value.code == "corrupt"
    assert "JPEG XL image is" in caught.value.message


def test_profile_reaches_the_conversion() -> None:
    file = io.BytesIO()
    PHOTO.save(file, "JXL", quality=95)
    assert_same(decoded(file.getvalue()), PHOTO, mean_error=3)
