"""Versions of a checkpoint: numbered, complete or absent, and the newest is served."""

import os
import shutil
import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from app.core.checkpoint import (
    Checkpoint,
    LabelChange,
    label_versions,
    next_labels_version,
    next_version,
    read_checkpoint,
    seal,
    served_directory,
    write_labels,
)
from app.errors import DiskError, RefusedCheckpointError
from tests.support.checkpoints import copied


@pytest.fixture
def original(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    return copied(tiny_checkpoint, tmp_path)


def write_next(checkpoint: Path, parent: Path | None) -> Path:
    """Write the next version: a copy of the checkpoint."""
    with next_version(read_checkpoint(checkpoint), parent) as out:
        shutil.copytree(checkpoint, out)
    return out


def fail_after_copy(checkpoint: Checkpoint, parent: Path | None) -> None:
    """Fail after a version was written, before the block ends."""
    with next_version(checkpoint, parent) as out:
        shutil.copytree(checkpoint.directory, out)
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("version", "following"),
    [("3.0.0", "3.0.0+1"), ("3.0.0+1", "3.0.0+2"), ("a+9", "a+10"), ("+", "++1")],
)
def test_next_labels_version_counts(version: str, following: str) -> None:
    assert next_labels_version(version) == following


def test_newest_version_is_served(original: Path, tmp_path: Path) -> None:
    parent = tmp_path / "versions"
    assert served_directory(original, parent) == original
    for number in range(1, 13):
        written = write_next(served_directory(original, parent), parent)
        assert (written.name, served_directory(original, parent)) == (str(number), written)
    kept = sorted(int(path.name) for path in written.parent.iterdir() if path.is_dir())
    assert kept == list(range(3, 13))
    assert served_directory(written.parent / "5", parent) == written.parent / "5"


def test_versions_are_next_to_checkpoint_by_default(original: Path) -> None:
    written = write_next(original, None)
    assert written.parent.parent == original.parent
    assert written.parent.name.startswith("tiny-")
    assert served_directory(original, None) == written


def test_failed_version_is_deleted(original: Path, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        fail_after_copy(read_checkpoint(original), tmp_path)
    assert served_directory(original, tmp_path) == original


def test_version_is_not_written_over_that_of_another_process(
    original: Path, tmp_path: Path
) -> None:
    write_next(original, tmp_path)
    with pytest.raises(RefusedCheckpointError, match="reload the checkpoint first"):
        write_next(original, tmp_path)


def test_left_over_of_killed_process_is_deleted(original: Path, tmp_path: Path) -> None:
    written = write_next(original, tmp_path)
    left_over = written.parent / ".2-abcdef"
    left_over.mkdir()
    assert served_directory(original, tmp_path) == written
    write_next(written, tmp_path)
    assert not left_over.exists()


def test_edited_checkpoint_has_no_versions_and_log_names_them(
    original: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written = write_next(original, tmp_path)
    labels = original / "labels.yaml"
    labels.write_text(labels.read_text().replace("store: 0.05", "store: 0.06"))
    seal(original)
    assert served_directory(original, tmp_path) == original
    assert str(written) in caplog.text
    assert "mumic labels export" in caplog.text


def test_folder_that_cannot_be_written_names_setting(original: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DiskError, match="set MUMIC_LABELS_DIR"):
        write_next(original, tmp_path / "file")


def change_labels(checkpoint: Checkpoint, parent: Path) -> Path:
    """Write the next version, with the next version of the same labels."""
    version = next_labels_version(checkpoint.labels.version)
    with next_version(checkpoint, parent) as out:
        write_labels(
            checkpoint,
            out,
            checkpoint.labels.model_copy(update={"version": version}),
            prompt_embeddings=torch.zeros(len(checkpoint.labels.labels), checkpoint.dimension),
            class_embeddings={},
            change=LabelChange(
                action="added", label="x", at=datetime.now(UTC), labels_version=version
            ),
            metrics={},
        )
    return out


@pytest.mark.parametrize(
    ("step", "is_complete"),
    [
        ("dump_label_set", False),
        ("save_class_embeddings", False),
        ("write_card", False),
        ("_delete_old", True),
    ],
)
def test_killed_writer_leaves_old_or_new_version(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, is_complete: bool
) -> None:
    checkpoint, parent = read_checkpoint(original), tmp_path / "versions"
    child = os.fork()
    if child == 0:
        monkeypatch.setattr(label_versions, step, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        change_labels(checkpoint, parent)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    served = served_directory(original, parent)
    assert (served != original) == is_complete
    read = read_checkpoint(served)
    assert read.labels.version == ("1.0.0+1" if is_complete else "1.0.0")
    monkeypatch.undo()
    written = change_labels(read, parent)
    assert read_checkpoint(served_directory(original, parent)).directory == written
    assert not list(written.parent.glob(".*"))
