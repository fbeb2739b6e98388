"""The calibration of zero-shot scores in a checkpoint directory is signed and never stale."""

import shutil
from pathlib import Path

import pytest
import torch

from app.core.checkpoint import (
    Checkpoint,
    import_from_checkpoint,
    read_checkpoint,
    seal,
    write_relabelled,
    zero_shot_calibration,
)
from app.core.classifier import Classifier
from app.core.labels import builtin_label_set
from app.errors import CheckpointError
from tests.support.checkpoints import copied, edit_tensors, rehash
from tests.support.tiny import CALIBRATION, write_calibrated, write_tiny

FILE = "zero_shot_calibration.safetensors"
WEIGHTS = "open_clip_model.safetensors"


@pytest.fixture(scope="module")
def original(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_calibrated(tiny_checkpoint, tmp_path_factory.mktemp("checkpoints") / "calibrated")


@pytest.fixture
def checkpoint(original: Path, tmp_path: Path) -> Path:
    return copied(original, tmp_path)


def is_calibrated(checkpoint: Checkpoint) -> bool:
    found = zero_shot_calibration(checkpoint)
    return found is not None and torch.equal(found.photos.mean, CALIBRATION.photos.mean)


def test_written_calibration_is_read_back(checkpoint: Path) -> None:
    found = zero_shot_calibration(read_checkpoint(checkpoint))
    assert found is not None
    for have, want in ((found.photos, CALIBRATION.photos), (found.texts, CALIBRATION.texts)):
        assert torch.equal(have.mean, want.mean)
        assert torch.equal(have.covariance, want.covariance)
    assert (found.scale, found.offset) == (CALIBRATION.scale, CALIBRATION.offset)


def test_checkpoint_without_calibration_has_none(tiny_checkpoint: Path) -> None:
    assert zero_shot_calibration(read_checkpoint(tiny_checkpoint)) is None


def test_altered_calibration_is_refused(checkpoint: Path) -> None:
    edit_tensors(checkpoint / FILE, lambda tensors: tensors["affine"].mul_(2))
    with pytest.raises(CheckpointError, match=rf"{FILE}: its sha256 differs"):
        read_checkpoint(checkpoint)


def test_missing_calibration_is_refused_until_sealed(checkpoint: Path) -> None:
    (checkpoint / FILE).unlink()
    with pytest.raises(CheckpointError, match=rf"{FILE}: is missing.*mumic seal"):
        read_checkpoint(checkpoint)
    seal(checkpoint)
    assert not is_calibrated(read_checkpoint(checkpoint))


def test_unsigned_calibration_is_refused_until_sealed(
    checkpoint: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    plain = shutil.copytree(tiny_checkpoint, tmp_path / "plain")
    shutil.copy(checkpoint / FILE, plain)
    with pytest.raises(CheckpointError, match=rf"{FILE}: has no sha256.*mumic seal"):
        read_checkpoint(plain)
    seal(plain)
    assert is_calibrated(read_checkpoint(plain))


def test_seal_of_edited_labels_keeps_calibration(checkpoint: Path) -> None:
    labels = checkpoint / "labels.yaml"
    labels.write_text(labels.read_text().replace("template: a photo with", "template: a view of"))
    seal(checkpoint)
    assert is_calibrated(read_checkpoint(checkpoint))


def test_seal_of_edited_weights_refuses_calibration(checkpoint: Path) -> None:
    edit_tensors(checkpoint / WEIGHTS, lambda tensors: tensors["visual.proj"].mul_(2))
    with pytest.raises(CheckpointError, match=r"was fitted to other weights.*Delete it"):
        seal(checkpoint)
    (checkpoint / FILE).unlink()
    seal(checkpoint)
    assert not is_calibrated(read_checkpoint(checkpoint))


def test_truncated_calibration_is_refused_by_seal(checkpoint: Path) -> None:
    (checkpoint / FILE).write_bytes((checkpoint / FILE).read_bytes()[:20])
    with pytest.raises(CheckpointError, match=rf"{FILE}: not a complete safetensors file"):
        seal(checkpoint)


def test_calibration_without_tensor_is_refused(checkpoint: Path) -> None:
    edit_tensors(checkpoint / FILE, lambda tensors: tensors.pop("affine"))
    rehash(checkpoint)
    with pytest.raises(CheckpointError, match=rf"{FILE}: not a calibration.*affine.*mumic seal"):
        Classifier.load(checkpoint, device="cpu", precision="fp32")


def test_calibration_of_other_dimension_is_refused(checkpoint: Path) -> None:
    edit_tensors(
        checkpoint / FILE,
        lambda tensors: tensors.update(photos_mean=tensors["photos_mean"][1:].clone()),
    )
    rehash(checkpoint)
    with pytest.raises(CheckpointError, match="not a calibration of this checkpoint"):
        Classifier.load(checkpoint, device="cpu", precision="fp32")


def test_other_thresholds_keep_calibration(checkpoint: Path, tmp_path: Path) -> None:
    source = read_checkpoint(checkpoint)
    write_relabelled(source, source.labels, tmp_path / "fitted", {})
    assert is_calibrated(read_checkpoint(tmp_path / "fitted"))


def test_import_with_own_labels_keeps_calibration(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "own"
    import_from_checkpoint(checkpoint, out, builtin_label_set(), name="own", version="1")
    assert is_calibrated(read_checkpoint(out))


def test_checkpoint_with_new_weights_has_no_calibration(checkpoint: Path) -> None:
    write_tiny(checkpoint, seed=1)
    assert not is_calibrated(read_checkpoint(checkpoint))
