"""Preprocessing equals open_clip's evaluation transform with squash."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.transform import image_transform
from PIL import ExifTags, Image

from app.core.images import ImageLimits, Preprocess, load_pixels, normalize, stack
from app.core.images.decoding import decode
from app.core.images.preprocessing import Interpolation, resize
from app.errors import CheckpointError, ImageError
from tests.support.photos import NAMES, encoded, sample

CONFIG: dict[str, object] = {
    "size": 224,
    "mode": "RGB",
    "mean": list(OPENAI_DATASET_MEAN),
    "std": list(OPENAI_DATASET_STD),
    "interpolation": "bicubic",
    "resize_mode": "squash",
    "fill_color": 0,
}


def preprocess(**changes: object) -> Preprocess:
    return Preprocess.from_config(CONFIG | changes, exif_orientation=True)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [224, 96])
def test_resize_equals_open_clip_squash(name: str, interpolation: Interpolation, size: int) -> None:
    photo = sample(name)
    theirs = image_transform(
        size,
        is_train=False,
        mean=OPENAI_DATASET_MEAN,
        std=OPENAI_DATASET_STD,
        resize_mode="squash",
        interpolation=interpolation,
    )(photo)
    chosen = preprocess(size=size, interpolation=interpolation)
    ours = normalize(resize(np.array(photo), chosen)[None], chosen, torch.float32)[0]
    levels = (ours - theirs).abs() * torch.tensor(chosen.std).view(3, 1, 1) * 255
    assert levels.max() < 1.01  # the two may round differently
    assert levels.mean() < 0.01


def test_resize_keeps_borders_of_wide_photo() -> None:
    wide = np.zeros((100, 400, 3), dtype=np.uint8)
    wide[:, :40], wide[:, -40:] = (255, 0, 0), (0, 0, 255)
    square = resize(wide, preprocess(size=64))
    assert square.shape == (3, 64, 64)
    assert square.dtype == torch.uint8
    assert square.permute(1, 2, 0).is_contiguous()
    assert square[:, 32, 0].tolist() == [255, 0, 0]
    assert square[:, 32, -1].tolist() == [0, 0, 255]


@settings(max_examples=30)
@given(
    mean=st.tuples(*[st.floats(0, 1)] * 3),
    std=st.tuples(*[st.floats(0.1, 1)] * 3),
    seed=st.integers(0, 2**31),
)
def test_normalize_equals_formula(
    mean: tuple[float, float, float], std: tuple[float, float, float], seed: int
) -> None:
    random = np.random.default_rng(seed)
    values = random.integers(0, 256, size=(2, 3, 4, 4), dtype=np.uint8)
    chosen = Preprocess(size_px=4, mean=mean, std=std, interpolation="bicubic")
    expected = (values / 255 - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    found = normalize(torch.from_numpy(values), chosen, torch.float32)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_normalize_returns_dtype_and_keeps_input(dtype: torch.dtype) -> None:
    pixels = resize(np.array(sample("coffee")), preprocess())[None]
    before = pixels.clone()
    found = normalize(pixels, preprocess(), dtype)
    assert found.dtype == dtype
    assert torch.equal(pixels, before)
    exact = normalize(pixels, preprocess(), torch.float32)
    assert torch.equal(found, exact.to(dtype))


def test_stack_keeps_order_of_photos() -> None:
    photos = [resize(np.array(sample(name)), preprocess()) for name in NAMES]
    batch = stack(photos)
    assert torch.equal(batch, torch.stack(photos))
    assert batch.is_contiguous(memory_format=torch.channels_last)


def test_load_pixels_decodes_and_resizes() -> None:
    data = encoded(sample("china").resize((2400, 1800)), "JPEG", quality=90)
    loaded = load_pixels(data, ImageLimits(), preprocess())
    photo = decode(data, ImageLimits(), min_side_px=448)
    assert (loaded.width, loaded.height, loaded.source) == (2400, 1800, "JPEG/4")
    assert torch.equal(loaded.values, resize(photo.pixels, preprocess()))


@pytest.mark.parametrize("upright", [True, False])
def test_load_pixels_applies_exif_orientation_if_enabled(upright: bool) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    photo = sample("china")
    chosen = Preprocess.from_config(CONFIG, exif_orientation=upright)
    loaded = load_pixels(encoded(photo, "PNG", exif=exif), ImageLimits(), chosen)
    expected = photo.transpose(Image.Transpose.ROTATE_270) if upright else photo
    assert (loaded.width, loaded.height) == expected.size
    assert torch.equal(loaded.values, resize(np.array(expected), chosen))


def test_load_pixels_enforces_limits() -> None:
    with pytest.raises(ImageError, match="pixels"):
        load_pixels(encoded(sample("china"), "PNG"), ImageLimits(max_pixels=1), preprocess())


def test_from_config_reads_open_clip_values() -> None:
    assert preprocess() == Preprocess(
        size_px=224,
        mean=OPENAI_DATASET_MEAN,
        std=OPENAI_DATASET_STD,
        interpolation="bicubic",
        exif_orientation=True,
    )
    assert preprocess(size=[384, 384]).size_px == 384
    short = {name: CONFIG[name] for name in ("size", "mean", "std", "resize_mode")}
    assert Preprocess.from_config(short, exif_orientation=True) == preprocess()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mode", "L"),
        ("resize_mode", "shortest"),
        ("resize_mode", None),
        ("interpolation", "random"),
        ("interpolation", ["bicubic"]),
        ("size", [224, 256]),
        ("size", [224]),
        ("size", 0),
        ("size", "224"),
        ("size", None),
        ("size", True),
        ("mean", [0.5, 0.5]),
        ("mean", [0.5, 0.5, 128]),
        ("mean", "0.5"),
        ("mean", None),
        ("std", [0.0, 0.2, 0.2]),
        ("std", [0.2, 0.2, float("nan")]),
    ],
)
def test_from_config_reports_unsupported_values(name: str, value: Any) -> None:
    with pytest.raises(CheckpointError, match=name):
        preprocess(**{name: value})


def test_from_config_requires_squash() -> None:
    without = {name: value for name, value in CONFIG.items() if name != "resize_mode"}
    with pytest.raises(CheckpointError, match="resize_mode is not supported: Field required"):
        Preprocess.from_config(without, exif_orientation=True)
