"""HEIC files decode as phones show them."""

import io
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms

from app.core.images.decoding import decode
from app.core.images.limits import ImageLimits
from app.errors import ImageError
from tests.support.photos import encoded, sample
from tests.support.pixels import assert_same, decoded, exif

PHOTO = sample("coffee").resize((120, 80))


def heic(image: Image.Image = PHOTO, **options: Any) -> bytes:
    return encoded(image, "HEIF", quality=90, **options)


def test_source_is_the_format() -> None:
    assert decoded(heic()).source == "HEIF"


@pytest.mark.parametrize("respect_exif", [True, False])
@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (3, Image.Transpose.ROTATE_180),
        (6, Image.Transpose.ROTATE_270),
        (7, Image.Transpose.TRANSVERSE),
        (8, Image.Transpose.ROTATE_90),
    ],
)
def test_rotation_is_applied_once(
    orientation: int, turn: Image.Transpose, respect_exif: bool
) -> None:
    data = heic(exif=exif(orientation).tobytes())
    assert b"irot" in data or b"imir" in data
    found = decoded(data, exif_orientation=respect_exif)
    assert_same(found, PHOTO.transpose(turn), mean_error=5)


def test_tiles_are_joined() -> None:
    data = heic(tile_size=64)
    assert b"grid" in data
    assert_same(decoded(data), PHOTO, mean_error=5)


@pytest.mark.parametrize("bits", [10, 12])
def test_high_bit_depth_is_scaled(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pillow_heif.options, "SAVE_HDR_TO_12_BIT", bits == 12)
    samples = np.asarray(PHOTO).astype(np.uint16) * 257
    file = io.BytesIO()
    pillow_heif.from_bytes("RGB;16", PHOTO.size, samples.tobytes()).save(file, quality=90)
    assert_same(decoded(file.getvalue()), PHOTO, mean_error=5)


def test_grey_of_10_bits_is_scaled() -> None:
    grey = PHOTO.convert("L")
    image = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    assert_same(decoded(heic(image)), grey.convert("RGB"), mean_error=4)


def test_alpha_is_composited_over_white() -> None:
    transparent = PHOTO.copy()
    transparent.putalpha(0)
    found = decoded(heic(transparent)).pixels
    assert found.min() > 250


def test_primary_image_is_decoded() -> None:
    first = sample("china").resize((60, 40))
    data = heic(first, save_all=True, append_images=[PHOTO], primary_index=1)
    assert_same(decoded(data), PHOTO, mean_error=5)


def test_thumbnail_is_ignored() -> None:
    assert_same(decoded(heic(thumbnails=[64]), min_side_px=16), PHOTO, mean_error=5)


def test_profile_of_the_file_is_applied() -> None:
    swapped = PHOTO.convert("RGB")
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # The same profile with red and green exchanged, as its primaries are read.
    red, green = lab.index(b"rXYZ"), lab.index(b"gXYZ")
    exchanged = bytearray(lab)
    exchanged[red : red + 4], exchanged[green : green + 4] = b"gXYZ", b"rXYZ"
    found = decoded(heic(swapped, icc_profile=bytes(exchanged))).pixels
    assert np.abs(found[..., 0].astype(int) - np.asarray(PHOTO)[..., 1]).mean() < 12
    assert np.abs(found[..., 0].astype(int) - np.asarray(PHOTO)[..., 0]).mean() > 20


def test_picture_larger_than_declared_is_refused() -> None:
    data = heic(sample("coffee"))
    size = data.index(b"ispe") + 8
    smaller = data[:size] + (64).to_bytes(4) * 2 + data[size + 8 :]
    with pytest.raises(ImageError) as caught:
        decoded(smaller)
    assert caught.value.code == "corrupt"


def test_pixel_limit_counts_the_declared_size() -> None:
    with pytest.raises(ImageError) as caught:
        decode(heic(), ImageLimits(max_pixels=120 * 80 - 1), min_side_px=1)
    assert caught.value.code == "too_many_pixels"
    assert "120 x 80" in caught.value.message


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_truncated_heic_is_corrupt(kept: float) -> None:
    data = heic()
    with pytest.raises(ImageError) as caught:
        decoded(data[: int(len(data) * kept)])
    assert caught.value.code == "corrupt"
    assert "HEIC image is" in caught.value.message


@pytest.mark.parametrize("codec", [b"av01", b"jpeg", b"j2k1", b"unci"])
def test_other_codec_in_heif_is_unsupported(codec: bytes) -> None:
    data = heic().replace(b"hvc1", codec)
    with pytest.raises(ImageError) as caught:
        decoded(data)
    assert caught.value.code == "unsupported_format"
    assert "HEVC" in caught.value.message
