"""Golden inputs detect errors that hashes cannot."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from app.core.checkpoint import check_golden, golden_images, load_model, read_checkpoint, seal
from app.core.checkpoint.golden import embed_golden
from app.core.classifier import Classifier
from app.errors import CheckpointError
from tests.support.checkpoints import copied, edit_tensors, edited_json, rehash

CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"


@pytest.fixture
def checkpoint(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    return copied(tiny_checkpoint, tmp_path)


@pytest.mark.parametrize(
    ("size_px", "sha256"),
    [
        (64, "8c48d372202de8c170bcb1bb89a5f22fe77cea659d23e4841c69d0e6e21ceeee"),
        (224, "2aa74e7f6c245d3f05ef1c0775416717496b9ff263ac3476457c887686127213"),
    ],
)
def test_golden_images_have_known_hashes(size_px: int, sha256: str) -> None:
    """The golden embeddings of every checkpoint depend on these bytes.

    The hashes are those of `hashlib.sha256(golden_images(size).numpy().tobytes())`.
    """
    images = golden_images(size_px)
    assert (images.shape, images.dtype) == ((4, 3, size_px, size_px), torch.uint8)
    assert hashlib.sha256(images.numpy().tobytes()).hexdigest() == sha256


def test_golden_images_are_gradients_and_noise() -> None:
    images = golden_images(8)
    for k in range(3):
        for channel, row, column in ((0, 0, 7), (1, 5, 2), (2, 7, 7)):
            wanted = (column * (k + 1) + row * channel * 3) % 256
            assert images[k, channel, row, column] == wanted
    noise = [(i * 2654435761 >> 7) % 256 for i in range(3 * 8 * 8)]
    assert images[3].flatten().tolist() == noise


def test_written_checkpoint_passes(tiny_checkpoint: Path) -> None:
    checkpoint = read_checkpoint(tiny_checkpoint)
    model = load_model(checkpoint)
    check_golden(model, checkpoint.preprocess, checkpoint.card.golden)
    assert embed_golden(model, checkpoint.preprocess) == checkpoint.card.golden


def test_golden_embeddings_are_unit_rows(tiny_checkpoint: Path) -> None:
    golden = read_checkpoint(tiny_checkpoint).card.golden
    for rows, count in ((golden.image_embeddings, 4), (golden.text_embeddings, 2)):
        lengths = torch.tensor(rows).norm(dim=1)
        torch.testing.assert_close(lengths, torch.ones(count), atol=1e-5, rtol=0)


def test_low_precision_passes(tiny_checkpoint: Path) -> None:
    classifier = Classifier.load(tiny_checkpoint, device="cpu", precision="bf16")
    assert classifier.placement.dtype == torch.bfloat16


def double_the_patches(state: dict[str, Tensor]) -> None:
    state["visual.conv1.weight"] *= 2


def swap_two_words(state: dict[str, Tensor]) -> None:
    words = state["text.token_embedding.weight"]
    words[[1125, 2103]] = words[[2103, 1125]]
    words[320:330] *= -1  # "a" is in every prompt


def lose_the_projection(state: dict[str, Tensor]) -> None:
    state["visual.proj"].zero_()


@pytest.mark.parametrize("edit", [double_the_patches, swap_two_words, lose_the_projection])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_altered_weights_are_detected(
    checkpoint: Path, edit: Callable[[dict[str, Tensor]], None], precision: str
) -> None:
    edit_tensors(checkpoint / WEIGHTS_FILE, edit)
    assert_noticed(checkpoint, precision)


@pytest.mark.parametrize(
    "edit",
    [
        lambda config: config["model_cfg"].update(quick_gelu=False),
        lambda config: config["model_cfg"].pop("quick_gelu"),
        lambda config: config["preprocess_cfg"].update(mean=[0.5, 0.5, 0.5]),
        lambda config: config["preprocess_cfg"].update(std=[0.5, 0.5, 0.5]),
    ],
    ids=["quick_gelu false", "quick_gelu lost", "mean", "std"],
)
def test_changed_configuration_is_detected(
    checkpoint: Path, edit: Callable[[dict[str, Any]], object]
) -> None:
    with edited_json(checkpoint / CONFIG_FILE) as config:
        edit(config)
    assert_noticed(checkpoint)


def test_embeddings_of_other_length_are_detected(checkpoint: Path) -> None:
    with edited_json(checkpoint / "mumic.json") as card:
        card["golden"]["text_embeddings"] = [[1.0, 0.0], [0.0, 1.0]]
    with pytest.raises(CheckpointError, match=r"has shape \(2, 2\), the model returns \(2, 32\)"):
        Classifier.load(checkpoint, device="cpu", precision="fp32")


@pytest.mark.parametrize("tower", ["image_embeddings", "text_embeddings"])
def test_nan_is_detected(checkpoint: Path, tower: str) -> None:
    with edited_json(checkpoint / "mumic.json") as card:
        card["golden"][tower][0][0] = float("nan")
    with pytest.raises(CheckpointError, match="golden"):
        Classifier.load(checkpoint, device="cpu", precision="fp32")


def assert_noticed(checkpoint: Path, precision: str = "fp32") -> None:
    """Update the hashes, so that only the golden inputs can detect the change."""
    rehash(checkpoint)
    read_checkpoint(checkpoint)
    with pytest.raises(CheckpointError, match=r"golden \w+ do not match .*quick_gelu"):
        Classifier.load(checkpoint, device="cpu", precision=precision)


def test_image_size_other_than_of_tower_is_rejected(checkpoint: Path) -> None:
    with edited_json(checkpoint / "open_clip_config.json") as config:
        config["preprocess_cfg"]["size"] = 96
    with pytest.raises(CheckpointError, match="size is 96, but the image tower takes 64"):
        seal(checkpoint)
