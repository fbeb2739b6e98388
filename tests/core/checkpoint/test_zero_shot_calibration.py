"""The calibration of zero-shot scores in a checkpoint directory is signed and never stale."""

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

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
    assert "zero_shot" in read_checkpoint(checkpoint).card.metrics
    (checkpoint / FILE).unlink()
    with pytest.raises(CheckpointError, match=rf"{FILE}: is missing.*mumic seal"):
        read_checkpoint(checkpoint)
    seal(checkpoint)
    without = read_checkpoint(checkpoint)
    assert not is_calibrated(without)
    assert "zero_shot" not in without.card.metrics


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


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda t: t.pop("affine"), "affine: is missing"),
        (lambda t: t.update(photos_mean=t["photos_mean"][1:].clone()), "photos_mean: must have"),
        (lambda t: t["affine"].fill_(math.nan), "affine: has a NaN"),
        (lambda t: t["texts_covariance"][0].fill_(math.inf), "texts_covariance: has a NaN or an"),
        (lambda t: t["affine"].copy_(torch.tensor([-1.0, 0.0])), "scale must be above 0, got -1"),
        (lambda t: t["photos_covariance"].zero_(), "photos_covariance: no variance may be"),
    ],
)
def test_invalid_calibration_is_refused_by_seal_and_load(
    checkpoint: Path, edit: Callable[[dict[str, Tensor]], object], reason: str
) -> None:
    edit_tensors(checkpoint / FILE, edit)
    with pytest.raises(CheckpointError, match=rf"{FILE}: not a calibration.*{reason}.*mumic seal"):
        seal(checkpoint)
    rehash(checkpoint)
    with pytest.raises(CheckpointError, match=rf"{FILE}: not a calibration.*{reason}.*mumic seal"):
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
