"""Import of open_clip architectures with existing weights."""

import json
import pickle
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from open_clip import factory
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from app.core.checkpoint import (
    import_checkpoint,
    import_from_checkpoint,
    load_model,
    read_checkpoint,
    write_relabelled,
)
from app.core.classifier import Classifier
from app.core.labels import Label, LabelSet, builtin_label_set
from app.errors import CheckpointError, OptionError
from tests.support.tiny import CONFIG, write_tiny

LABELS = LabelSet(version="1", labels=builtin_label_set().labels[:2])
PLAIN = {key: value for key, value in CONFIG["model_cfg"].items() if key != "custom_text"}
ARCHITECTURES = {
    "Tiny-quickgelu": PLAIN,
    "Tiny": {**PLAIN, "quick_gelu": False},
    "Tiny-custom-quickgelu": CONFIG["model_cfg"],
    "Tiny-wide": {**PLAIN, "embed_dim": 48},
    "Tiny-conv": {
        **PLAIN,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None},
    },
    "Tiny-bias": {**CONFIG["model_cfg"], "init_logit_bias": -10},
}


@pytest.fixture(scope="module", autouse=True)
def architectures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Register small architectures in open_clip, as a user would."""
    folder = tmp_path_factory.mktemp("architectures")
    for name, config in ARCHITECTURES.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)
    yield
    factory._MODEL_CONFIG_PATHS.remove(folder)
    for name in ARCHITECTURES:
        del factory._MODEL_CONFIGS[name]


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """The weights of a trained `Tiny-quickgelu`."""
    torch.manual_seed(7)
    clip = open_clip.create_model("Tiny-quickgelu")
    return {key: value.clone() for key, value in clip.state_dict().items()}


def imported(architecture: str, directory: Path, **options: Any) -> Path:
    import_checkpoint(architecture, directory, LABELS, name="mine", version="1", **options)
    return directory


def refusal(architecture: str, directory: Path, **options: Any) -> str:
    with pytest.raises(CheckpointError) as caught:
        imported(architecture, directory / "out", **options)
    assert not (directory / "out").exists()
    return str(caught.value)


@pytest.mark.parametrize("architecture", ["Tiny-quickgelu", "Tiny-custom-quickgelu", "Tiny-conv"])
def test_random_weights_load(architecture: str, tmp_path: Path) -> None:
    checkpoint = imported(architecture, tmp_path / "out")
    classifier = Classifier.load(checkpoint, device="cpu")
    if architecture == "Tiny-conv":
        assert classifier.placement.precision == "fp32"
    card = read_checkpoint(checkpoint).card
    assert card.training == {"architecture": architecture, "weights": "random"}
    assert "Not fine-tuned" in (checkpoint / "README.md").read_text()


def test_random_weights_depend_on_seed(tmp_path: Path) -> None:
    hashes = [
        read_checkpoint(imported("Tiny", tmp_path / str(i), seed=seed)).card.sha256
        for i, seed in enumerate((0, 0, 1))
    ]
    assert hashes[0] == hashes[1]
    assert hashes[0] != hashes[2]


@pytest.mark.parametrize(
    ("architecture", "activation"),
    [
        ("Tiny-quickgelu", "QuickGELU"),
        ("Tiny-custom-quickgelu", "QuickGELU"),
        ("Tiny", "GELU"),
    ],
)
def test_activation_survives_round_trip(architecture: str, activation: str, tmp_path: Path) -> None:
    model = load_model(read_checkpoint(imported(architecture, tmp_path / "out")))
    found = {type(m).__name__ for m in model.clip.modules() if "GELU" in type(m).__name__}
    assert found == {activation}


def test_imported_config_resizes_by_squash(tmp_path: Path) -> None:
    config = read_checkpoint(imported("Tiny", tmp_path / "out")).config
    assert config["preprocess_cfg"] == {
        "size": 64,
        "mode": "RGB",
        "mean": list(open_clip.OPENAI_DATASET_MEAN),
        "std": list(open_clip.OPENAI_DATASET_STD),
        "interpolation": "bicubic",
        "resize_mode": "squash",
    }


@pytest.mark.parametrize("kind", ["safetensors", "pt", "wrapped", "distributed", "legacy"])
def test_local_weights_are_imported_exactly(
    kind: str, state: dict[str, Tensor], tmp_path: Path
) -> None:
    weights = tmp_path / ("weights.safetensors" if kind == "safetensors" else "weights.pt")
    match kind:
        case "safetensors":
            save_file(state, weights)
        case "pt":
            torch.save(state, weights)
        case "wrapped":
            torch.save({"epoch": 3, "name": "run", "state_dict": state}, weights)
        case "distributed":
            torch.save({f"module.{key}": value for key, value in state.items()}, weights)
        case "legacy":
            torch.save(state, weights, _use_new_zipfile_serialization=False)
    checkpoint = imported("Tiny-quickgelu", tmp_path / "out", weights=weights)
    found = load_file(checkpoint / "open_clip_model.safetensors")
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], value) for key, value in state.items())
    assert read_checkpoint(checkpoint).card.training["weights"] == f"imported from {weights.name}"


def test_file_named_like_tag_is_used_as_file(
    state: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(state, "openai.pt")
    checkpoint = imported("Tiny-quickgelu", tmp_path / "out", weights=Path("openai.pt"))
    found = load_file(checkpoint / "open_clip_model.safetensors")
    assert torch.equal(found["visual.proj"], state["visual.proj"])


class Archive(nn.Module):
    """Weights with the integers that OpenAI's archives contain."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        for key, value in state.items():
            *path, name = key.split(".")
            owner: nn.Module = self
            for part in path:
                if part not in owner._modules:
                    owner.add_module(part, nn.Module())
                owner = owner.get_submodule(part)
            owner.register_buffer(name, value)
        for name in ("input_resolution", "context_length", "vocab_size"):
            self.register_buffer(name, torch.tensor(64))

    def forward(self, x: Tensor) -> Tensor:
        return x


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_torchscript_is_rejected_and_advice_converts_it(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    archive = tmp_path / "archive.pt"
    torch.jit.trace(Archive(state), torch.ones(1)).save(archive)
    message = refusal("Tiny-quickgelu", tmp_path, weights=archive)
    assert f"{archive} is a TorchScript archive, which contains code" in message
    _, _, advice = message.partition("with: ")
    python, *arguments = shlex.split(advice)
    assert python == "python"
    subprocess.run([sys.executable, *arguments], check=True, cwd=tmp_path, timeout=300)

    converted = tmp_path / "state_dict.pt"
    checkpoint = imported("Tiny-quickgelu", tmp_path / "out", weights=converted)
    found = load_file(checkpoint / "open_clip_model.safetensors")
    assert torch.equal(found["visual.proj"], state["visual.proj"])


class Malice:
    """Creates a file when unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("kind", ["zip", "legacy", "bare pickle"])
def test_pickle_with_code_is_rejected_and_not_run(kind: str, tmp_path: Path) -> None:
    weights, trace = tmp_path / "weights.pt", tmp_path / "it_ran"
    if kind == "bare pickle":
        weights.write_bytes(pickle.dumps({"state_dict": Malice(trace)}, protocol=2))
    else:
        content = {"state_dict": Malice(trace)}
        torch.save(content, weights, _use_new_zipfile_serialization=kind == "zip")
    assert "contains other objects than tensors" in refusal("Tiny", tmp_path, weights=weights)
    assert not trace.exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04", b"weights", b"\x80\x02}q\x00."],
    ids=["empty", "torn zip", "text", "empty dictionary"],
)
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".safetensors"])
def test_file_without_weights_is_rejected_by_name(
    content: bytes, suffix: str, tmp_path: Path
) -> None:
    weights = tmp_path / f"weights{suffix}"
    weights.write_bytes(content)
    assert str(weights) in refusal("Tiny", tmp_path, weights=weights)


@pytest.mark.parametrize("content", [[torch.ones(2)], torch.ones(2), {}, {1: torch.ones(2)}])
def test_tensors_without_state_dict_are_rejected(content: object, tmp_path: Path) -> None:
    weights = tmp_path / "weights.pt"
    torch.save(content, weights)
    assert f"{weights} cannot be loaded as Tiny" in refusal("Tiny", tmp_path, weights=weights)


def test_missing_file_or_unknown_suffix_is_rejected(tmp_path: Path) -> None:
    missing = tmp_path / "weights.pt"
    assert refusal("Tiny", tmp_path, weights=missing) == f"{missing}: no such file"
    array = tmp_path / "weights.npz"
    array.touch()
    assert "must be one of .safetensors, .pt" in refusal("Tiny", tmp_path, weights=array)


def test_weights_of_other_architecture_are_rejected(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    weights = tmp_path / "weights.safetensors"
    save_file(state, weights)
    message = refusal("Tiny-wide", tmp_path, weights=weights)
    assert message.startswith(f"{weights} cannot be loaded as Tiny-wide: ")
    assert "size mismatch" in message


def test_unknown_architecture_is_rejected_with_suggestion(tmp_path: Path) -> None:
    for name in ("ViT-B-32-quickgellu", "ViT-B/32-quickgelu"):
        with pytest.raises(OptionError, match="did you mean ViT-B-32-quickgelu or ") as caught:
            imported(name, tmp_path / "out")
        assert caught.value.field == "architecture"


@pytest.mark.parametrize("name", ["hf-hub:someone/model", "local-dir:/nowhere", "", "qqqqqqqqqq"])
def test_unknown_architecture_does_not_contact_hub(name: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="open_clip has no "):
        imported(name, tmp_path / "out")


def test_unknown_tag_is_rejected_with_known_tags(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="known: openai, laion400m_e31") as caught:
        imported("ViT-B-32-quickgelu", tmp_path / "out", pretrained="openia")
    assert caught.value.field == "pretrained"
    with pytest.raises(OptionError, match="no 'openai' for Tiny; known: none"):
        imported("Tiny", tmp_path / "out", pretrained="openai")


@pytest.mark.parametrize(
    "architecture", ["ViT-B-16-SigLIP", "ViT-B-16-SigLIP2", "roberta-ViT-B-32", "nllb-clip-base"]
)
def test_hub_text_tower_is_rejected_without_network_access(
    architecture: str, tmp_path: Path
) -> None:
    assert "comes from a hub" in refusal(architecture, tmp_path)


def test_logit_bias_is_rejected(tmp_path: Path) -> None:
    assert "has a logit_bias (SigLIP)" in refusal("Tiny-bias", tmp_path)


def test_weights_with_nan_are_rejected_by_tensor(state: dict[str, Tensor], tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    for value in (float("nan"), float("inf")):
        damaged = {**state, "visual.proj": state["visual.proj"].clone()}
        damaged["visual.proj"][0, 0] = value
        save_file(damaged, weights)
        message = refusal("Tiny-quickgelu", tmp_path, weights=weights)
        assert message.startswith(f"{weights}: the tensor visual.proj contains NaN or infinity")


def test_failed_download_names_offline_alternatives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(config: dict[str, Any]) -> str:
        raise FileNotFoundError(config["hf_hub"])

    monkeypatch.setattr(open_clip, "download_pretrained", fail)
    message = refusal("ViT-B-32-quickgelu", tmp_path, pretrained="openai")
    assert "the weights openai of ViT-B-32-quickgelu cannot be downloaded" in message
    assert "mumic import weights/mumic-demo --labels" in message


OWN = LabelSet(
    version="7",
    labels=(
        Label(id="dog", name="Dog", description="dog, a dog", category="Animals"),
        Label(id="cat", name="Cat", description="cat, a cat", category="Animals"),
    ),
)


def own(source: Path, out: Path, labels: LabelSet = OWN) -> Path:
    import_from_checkpoint(source, out, labels, name="own", version="1.0.0")
    return out


def test_own_labels_keep_weights_and_replace_card(tmp_path: Path) -> None:
    source = write_tiny(tmp_path / "tiny", logit_scale=3.5)
    measured = {"score_histograms": {"room": [1] * 10}, "validation": {"macro_map": 0.9}}
    checkpoint = read_checkpoint(source)
    write_relabelled(checkpoint, checkpoint.labels, source, measured)
    (source / "README.md").write_text("# tiny: measured on 120 labels")
    out = read_checkpoint(own(source, tmp_path / "out"))
    assert out.labels == OWN
    assert (out.card.name, out.card.version, out.card.metrics) == ("own", "1.0.0", {})
    assert out.card.training == {"weights": "checkpoint tiny 1.2.3"}
    assert "120 labels" not in (out.directory / "README.md").read_text()
    for name in ("open_clip_model.safetensors", "open_clip_config.json"):
        assert (out.directory / name).read_bytes() == (source / name).read_bytes()
    assert out.card.golden == checkpoint.card.golden
    classifier = Classifier.load(out.directory, device="cpu", precision="fp32")
    assert classifier.labels.ids == ["dog", "cat"]


def test_own_labels_keep_exif_orientation(tmp_path: Path) -> None:
    source = write_tiny(tmp_path / "tiny")
    card = json.loads((source / "mumic.json").read_bytes())
    card["exif_orientation"] = False
    (source / "mumic.json").write_text(json.dumps(card))
    assert not read_checkpoint(own(source, tmp_path / "out")).card.exif_orientation


def test_own_labels_replace_edited_label_file(tmp_path: Path) -> None:
    source = write_tiny(tmp_path / "tiny")
    (source / "labels.yaml").write_text("labels: []")
    assert read_checkpoint(own(source, tmp_path / "out")).labels == OWN


def test_own_labels_of_damaged_checkpoint_are_rejected(tmp_path: Path) -> None:
    source = write_tiny(tmp_path / "tiny")
    weights = source / "open_clip_model.safetensors"
    state = load_file(weights)
    save_file({**state, "visual.proj": state["visual.proj"] + 1}, weights)
    with pytest.raises(CheckpointError, match="sha256 differs"):
        own(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_own_labels_in_place_are_rejected(tmp_path: Path) -> None:
    source = write_tiny(tmp_path / "tiny")
    with pytest.raises(CheckpointError, match="is the checkpoint to start from"):
        own(source, source)
    assert read_checkpoint(source).card.name == "tiny"


def test_directory_without_checkpoint_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"mumic\.json missing"):
        own(tmp_path, tmp_path / "out")


def test_directory_given_as_architecture_is_rejected(tmp_path: Path) -> None:
    source = write_tiny(tmp_path / "tiny")
    with pytest.raises(OptionError, match="leave out --pretrained, --weights and --random"):
        imported(str(source), tmp_path / "out", weights=tmp_path / "weights.pt")
