"""Class embeddings of fitted labels: scored by, kept by other commands, and checked."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from app.core.checkpoint import (
    LabelChange,
    import_from_checkpoint,
    label_embeddings,
    load_model,
    read_checkpoint,
    seal,
    with_class_embeddings,
    write_labels,
    write_relabelled,
)
from app.core.classifier import Classifier
from app.core.labels import Added, Label, LabelSet, load_label_set
from app.errors import CheckpointError
from tests.support.checkpoints import edit_tensors, edited_json
from tests.support.tiny import DIMENSION, write_tiny

AT = datetime(2026, 12, 1, 3, 0, tzinfo=UTC)
FILE = "class_embeddings.safetensors"
WALL = Label(
    id="red_wall",
    name="Red wall",
    description="a red wall",
    category="Custom",
    added=Added(at=AT, by="Ada", examples=3),
)
FITTED: Tensor = torch.eye(DIMENSION)[5]


def write_fitted(source: Path, out: Path) -> Path:
    """Write a copy of a checkpoint with one fitted label."""
    classifier = Classifier.load(source, device="cpu", precision="fp32")
    old = classifier.labels
    labels = LabelSet(version="1.0.0+1", template=old.template, labels=(*old.labels, WALL))
    write_labels(
        classifier.checkpoint,
        out,
        labels,
        prompt_embeddings=classifier.prompt_embeddings(labels),
        class_embeddings={WALL.id: FITTED},
        change=LabelChange(action="added", label=WALL.id, at=AT, labels_version=labels.version),
        metrics={},
    )
    return out


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fitted")
    labels = LabelSet(version="1", labels=(WALL.model_copy(update={"id": "a", "name": "A"}),))
    plain = labels.model_copy(update={"labels": (labels.labels[0].unmeasured(),)})
    return write_fitted(write_tiny(folder / "source", plain), folder / "fitted")


@pytest.fixture
def checkpoint(fitted: Path, tmp_path: Path) -> Path:
    source = read_checkpoint(fitted)
    write_relabelled(source, source.labels, tmp_path / "copy", {})
    return tmp_path / "copy"


def test_fitted_label_is_scored_by_its_class_embedding(fitted: Path) -> None:
    classifier = Classifier.load(fitted, device="cpu", precision="fp32")
    assert torch.equal(classifier.text_embeddings[1], FITTED)
    text = load_model(read_checkpoint(fitted)).embed_texts(classifier.labels.prompts)
    assert torch.allclose(classifier.text_embeddings[0], text[0], atol=1e-6)
    assert not torch.allclose(FITTED, text[1], atol=0.1)
    change = classifier.checkpoint.card.label_changes[-1]
    assert (change.action, change.label, change.at) == ("added", "red_wall", AT)


def test_class_embedding_survives_seal_and_relabelling(checkpoint: Path) -> None:
    seal(checkpoint)
    read = read_checkpoint(checkpoint)
    assert torch.equal(label_embeddings(read, load_model(read))[1], FITTED)
    assert read.card.label_changes[-1].label == "red_wall"
    assert load_label_set(checkpoint / "labels.yaml").labels[1] == WALL


def test_prompt_of_fitted_label_is_embedded_by_its_class_embedding(fitted: Path) -> None:
    texts = ["a photo with a dog", "A photo with  red WALL"]
    rows = with_class_embeddings(read_checkpoint(fitted), texts, torch.zeros(2, DIMENSION))
    assert torch.equal(rows, torch.stack([torch.zeros(DIMENSION), FITTED]))


def test_import_keeps_class_embeddings_of_labels_with_examples(
    fitted: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels = read_checkpoint(fitted).labels
    kept, plain = tmp_path / "kept", tmp_path / "plain"
    import_from_checkpoint(fitted, kept, labels, name="kept", version="1")
    assert load_file(kept / FILE)["red_wall"].tolist() == FITTED.tolist()
    assert not caplog.records
    import_from_checkpoint(fitted, plain, labels.unmeasured(), name="plain", version="1")
    assert not (plain / FILE).exists()
    assert "class embeddings of red_wall are not used" in caplog.text


def test_altered_or_missing_class_embeddings_are_refused(checkpoint: Path) -> None:
    path = checkpoint / FILE
    whole = path.read_bytes()
    edit_tensors(path, lambda tensors: tensors.update(red_wall=-FITTED))
    with pytest.raises(CheckpointError, match="sha256 differs"):
        read_checkpoint(checkpoint)
    path.unlink()
    with pytest.raises(CheckpointError, match="is missing"):
        read_checkpoint(checkpoint)
    with pytest.raises(CheckpointError, match="no class embedding of red_wall"):
        seal(checkpoint)
    path.write_bytes(whole)
    read_checkpoint(checkpoint)


@pytest.mark.parametrize(
    ("vector", "problem"),
    [
        (2 * FITTED, "unit length"),
        (FITTED * torch.nan, "unit length"),
        (FITTED[:-1].clone(), "must be 32 float32 numbers"),
    ],
)
def test_invalid_class_embedding_is_not_sealed(
    checkpoint: Path, vector: Tensor, problem: str
) -> None:
    edit_tensors(checkpoint / FILE, lambda tensors: tensors.update(red_wall=vector))
    with pytest.raises(CheckpointError, match=problem):
        seal(checkpoint)


def test_class_embeddings_of_other_weights_are_not_sealed(checkpoint: Path, tmp_path: Path) -> None:
    other = write_tiny(tmp_path / "other", read_checkpoint(checkpoint).labels.unmeasured(), seed=5)
    weights = "open_clip_model.safetensors"
    (checkpoint / weights).write_bytes((other / weights).read_bytes())
    with pytest.raises(CheckpointError, match="fitted to other weights"):
        seal(checkpoint)


def test_class_embedding_without_fitted_label_is_not_sealed(checkpoint: Path) -> None:
    edit_tensors(checkpoint / FILE, lambda tensors: tensors.update(a=FITTED))
    with pytest.raises(CheckpointError, match="class embedding of a, which"):
        seal(checkpoint)


def test_card_without_label_changes_does_not_name_them(fitted: Path) -> None:
    source = fitted.parent / "source"
    with edited_json(source / "mumic.json") as card:
        assert "label_changes" not in card
