"""Incomplete, altered and unsafe checkpoint directories are rejected with file and remedy."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from app.core.checkpoint import read_checkpoint, seal
from app.core.classifier import Classifier
from app.errors import CheckpointError, LabelSetError, MumicError
from tests.support.checkpoints import FILES, copied, edit_tensors, edited_json, rehash


@pytest.fixture
def checkpoint(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    return copied(tiny_checkpoint, tmp_path)


def refusal(directory: Path) -> str:
    """Return the error of `read_checkpoint` for a directory."""
    with pytest.raises(MumicError) as caught:
        Classifier.load(directory, device="cpu", precision="fp32")
    assert isinstance(caught.value, CheckpointError)
    return str(caught.value)


def test_missing_directory_is_reported(tmp_path: Path) -> None:
    assert refusal(tmp_path / "nowhere") == f"{tmp_path / 'nowhere'}: no such checkpoint directory"


@pytest.mark.parametrize("name", FILES)
def test_missing_file_is_reported(checkpoint: Path, name: str) -> None:
    (checkpoint / name).unlink()
    assert refusal(checkpoint).startswith(f"{checkpoint}: {name} missing; a checkpoint directory")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.999])
def test_truncated_file_is_reported_with_remedy(checkpoint: Path, name: str, kept: float) -> None:
    whole = (checkpoint / name).read_bytes()
    (checkpoint / name).write_bytes(whole[: int(len(whole) * kept)])
    message = refusal(checkpoint)
    assert str(checkpoint / name) in message
    assert "opy the checkpoint again" in message


@pytest.mark.parametrize("name", [name for name in FILES if name != "mumic.json"])
def test_altered_file_is_reported_with_remedy(checkpoint: Path, name: str) -> None:
    content = bytearray((checkpoint / name).read_bytes())
    content[-2] ^= 1
    (checkpoint / name).write_bytes(content)
    message = refusal(checkpoint)
    assert str(checkpoint / name) in message
    assert "Copy the checkpoint again; if you edited labels or thresholds on purpose" in message
    assert f"mumic seal {checkpoint}" in message


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (lambda card: card.pop("golden"), "golden: Field required"),
        (lambda card: card.update(format_version=2), "format_version: Input should be 1"),
        (lambda card: card.update(name="a/b"), "name: String should match pattern"),
        (lambda card: card.update(nam="x"), "nam: Extra inputs are not permitted"),
        (lambda card: card["sha256"].pop("labels.yaml"), "labels.yaml: its sha256 differs"),
        (lambda card: card.update(sha256={}), "its sha256 differs from the one in mumic.json"),
    ],
)
def test_invalid_card_is_reported_by_field(
    checkpoint: Path, edit: Callable[[dict[str, Any]], object], complaint: str
) -> None:
    with edited_json(checkpoint / "mumic.json") as card:
        edit(card)
    message = refusal(checkpoint)
    assert str(checkpoint) in message
    assert complaint in message


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "\x00"])
def test_seal_rejects_invalid_card(checkpoint: Path, content: str) -> None:
    (checkpoint / "mumic.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"mumic\.json: the file: "):
        seal(checkpoint)


@pytest.mark.parametrize("name", ["model.bin", "old.pt", "state.pth", "x.pkl", "run/last.CKPT"])
def test_pickle_in_any_subdirectory_is_rejected(checkpoint: Path, name: str) -> None:
    pickle = checkpoint / name
    pickle.parent.mkdir(exist_ok=True)
    pickle.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    message = refusal(checkpoint)
    assert f"{checkpoint}: {pickle.name} may contain a pickle" in message
    assert "convert it with mumic import, or remove it" in message
    with pytest.raises(CheckpointError, match="pickle"):
        seal(checkpoint)


def test_pickle_named_like_weights_is_rejected(checkpoint: Path) -> None:
    weights = checkpoint / "open_clip_model.safetensors"
    torch.save({"logit_scale": torch.ones(())}, weights)
    rehash(checkpoint)
    assert f"{weights}: not a complete safetensors file" in refusal(checkpoint)


@pytest.mark.parametrize("section", ["model_cfg", "preprocess_cfg"])
@pytest.mark.parametrize("content", [None, [], "squash"])
def test_config_without_section_is_rejected(
    checkpoint: Path, section: str, content: object
) -> None:
    with edited_json(checkpoint / "open_clip_config.json") as config:
        config[section] = content
    rehash(checkpoint)
    message = refusal(checkpoint)
    assert f"{checkpoint / 'open_clip_config.json'}: the section '{section}' is missing" in message


@pytest.mark.parametrize("content", ["", "[]", "[1, 2", "7"])
def test_non_object_config_is_rejected(checkpoint: Path, content: str) -> None:
    (checkpoint / "open_clip_config.json").write_text(content)
    rehash(checkpoint)
    assert str(checkpoint / "open_clip_config.json") in refusal(checkpoint)


@pytest.mark.parametrize(
    ("key", "value"), [("resize_mode", "shortest"), ("mode", "L"), ("interpolation", "nearest")]
)
def test_unsupported_preprocessing_is_rejected(checkpoint: Path, key: str, value: str) -> None:
    with edited_json(checkpoint / "open_clip_config.json") as config:
        config["preprocess_cfg"][key] = value
    rehash(checkpoint)
    assert f"preprocess_cfg: {key} is not supported" in refusal(checkpoint)


@pytest.mark.parametrize(
    "edit",
    [
        lambda cfg: cfg.update(embed_dim=16),
        lambda cfg: cfg["vision_cfg"].update(layers=3),
        lambda cfg: cfg["text_cfg"].update(width="wide"),
        lambda cfg: cfg.pop("vision_cfg"),
        lambda cfg: cfg.update(no_such_option=1),
        lambda cfg: cfg["vision_cfg"].update(timm_model_name="no_such_model"),
        dict.clear,
    ],
)
def test_weights_of_other_config_are_rejected(
    checkpoint: Path, edit: Callable[[dict[str, Any]], object]
) -> None:
    with edited_json(checkpoint / "open_clip_config.json") as config:
        edit(config["model_cfg"])
    rehash(checkpoint)
    message = refusal(checkpoint)
    assert f"{checkpoint}: open_clip cannot load it: " in message
    assert "belong together?" in message


def test_missing_weight_is_rejected(checkpoint: Path) -> None:
    edit_tensors(checkpoint / "open_clip_model.safetensors", lambda state: state.pop("logit_scale"))
    rehash(checkpoint)
    assert "logit_scale" in refusal(checkpoint)


def test_hub_text_tower_is_rejected_without_network_access(checkpoint: Path) -> None:
    with edited_json(checkpoint / "open_clip_config.json") as config:
        config["model_cfg"]["text_cfg"]["hf_tokenizer_name"] = "someone/tokenizer"
    rehash(checkpoint)
    assert "comes from a hub" in refusal(checkpoint)


def test_invalid_labels_are_reported_with_file_and_line(checkpoint: Path) -> None:
    labels = checkpoint / "labels.yaml"
    labels.write_text(labels.read_text().replace("{}", "", 1))
    rehash(checkpoint)
    with pytest.raises(LabelSetError, match=r"labels\.yaml"):
        read_checkpoint(checkpoint)
