"""Checkpoint directories are written atomically and read back unchanged."""

import errno
import json
import logging
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from app.core.checkpoint import (
    label_embeddings,
    load_model,
    read_checkpoint,
    seal,
    write_checkpoint,
)
from app.core.classifier import Classifier
from app.core.labels import builtin_label_set
from app.errors import CheckpointError, DiskError
from tests.support.checkpoints import FILES, copied, edit_tensors, rehash
from tests.support.disk import limited_file_size
from tests.support.tiny import CONFIG, tiny_model, write_tiny

LABEL_EMBEDDINGS = "label_embeddings.safetensors"


@pytest.fixture
def checkpoint(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    return copied(tiny_checkpoint, tmp_path)


def test_written_checkpoint_is_read_back(tiny_checkpoint: Path) -> None:
    checkpoint = read_checkpoint(tiny_checkpoint)
    assert (checkpoint.card.name, checkpoint.card.version) == ("tiny", "1.2.3")
    assert checkpoint.config == CONFIG
    assert checkpoint.labels == builtin_label_set()
    assert checkpoint.preprocess.size_px == 64
    assert checkpoint.preprocess.exif_orientation
    assert (tiny_checkpoint / "README.md").read_text() == "# tiny\n"


def test_open_clip_loads_identical_weights(tiny_checkpoint: Path) -> None:
    clip = open_clip.create_model(f"local-dir:{tiny_checkpoint}", require_pretrained=True)
    written = tiny_model().clip.state_dict()
    assert written.keys() == clip.state_dict().keys()
    assert all(torch.equal(clip.state_dict()[key], value) for key, value in written.items())


def test_float16_halves_file_and_golden_uses_stored_weights(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    small = tmp_path / "small"
    write_checkpoint(
        small, tiny_model(), CONFIG, builtin_label_set(), name="small", version="1", readme=""
    )
    weights = "open_clip_model.safetensors"
    ratio = (small / weights).stat().st_size / (tiny_checkpoint / weights).stat().st_size
    assert 0.49 < ratio < 0.51
    Classifier.load(small, device="cpu", precision="fp32")


def test_files_are_world_readable(checkpoint: Path) -> None:
    seal(checkpoint)
    assert stat.S_IMODE(checkpoint.stat().st_mode) == 0o755
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in checkpoint.iterdir()}
    assert modes == dict.fromkeys([*FILES, LABEL_EMBEDDINGS, "README.md"], 0o644)


def test_replaced_checkpoint_keeps_no_old_files(checkpoint: Path) -> None:
    (checkpoint / "leftover.txt").touch()
    write_tiny(checkpoint, seed=1)
    assert not (checkpoint / "leftover.txt").exists()
    written = tiny_model(seed=1).clip.state_dict()
    model = load_model(read_checkpoint(checkpoint))
    assert torch.equal(model.clip.state_dict()["visual.proj"], written["visual.proj"])
    assert [path.name for path in checkpoint.parent.iterdir()] == [checkpoint.name]


def test_symbolic_link_target_is_replaced(checkpoint: Path) -> None:
    link = checkpoint.with_name("current")
    link.symlink_to(checkpoint)
    write_tiny(link, seed=1)
    assert link.is_symlink()
    assert read_checkpoint(link).card == read_checkpoint(checkpoint).card


@pytest.mark.parametrize(
    "broken",
    [
        {"name": "has a space"},
        {"version": ""},
        {"config": {**CONFIG, "model_cfg": {**CONFIG["model_cfg"], "embed_dim": 16}}},
        {"config": {"model_cfg": CONFIG["model_cfg"]}},
    ],
    ids=["name", "version", "architecture", "no preprocess_cfg"],
)
def test_failed_write_keeps_old_checkpoint_without_residue(
    checkpoint: Path, broken: dict[str, Any]
) -> None:
    before = {file.name: file.read_bytes() for file in checkpoint.iterdir()}
    fields: dict[str, Any] = {"name": "new", "version": "2", "config": CONFIG, **broken}
    with pytest.raises(CheckpointError):
        write_checkpoint(checkpoint, tiny_model(1), labels=builtin_label_set(), readme="", **fields)
    assert {file.name: file.read_bytes() for file in checkpoint.iterdir()} == before
    assert [path.name for path in checkpoint.parent.iterdir()] == [checkpoint.name]


def test_old_checkpoint_is_kept_until_new_files_are_synced(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {file.name: file.read_bytes() for file in checkpoint.iterdir()}
    on_disk: set[int] = set()

    def disk_that_breaks(descriptor: int) -> None:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise OSError(errno.EIO, "Input/output error")
        on_disk.add(status.st_ino)

    monkeypatch.setattr(os, "fsync", disk_that_breaks)
    with pytest.raises(DiskError, match="Input/output error"):
        write_tiny(checkpoint, seed=1)
    assert len(on_disk) == len(before)
    assert {file.name: file.read_bytes() for file in checkpoint.iterdir()} == before
    assert [path.name for path in checkpoint.parent.iterdir()] == [checkpoint.name]


def test_foreign_directory_is_never_replaced(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "holiday.jpg").write_bytes(b"photo")
    file = tmp_path / "notes"
    file.write_text("notes")
    for place in (photos, file):
        with pytest.raises(CheckpointError, match=f"{place}: .* was not changed"):
            write_tiny(place)
    assert (photos / "holiday.jpg").read_bytes() == b"photo"
    assert file.read_text() == "notes"


def test_empty_directory_is_replaced(tmp_path: Path) -> None:
    write_tiny(tmp_path / "empty")
    read_checkpoint(tmp_path / "empty")


def test_edited_thresholds_load_after_seal(checkpoint: Path) -> None:
    labels = checkpoint / "labels.yaml"
    assert "serve: 0.5" in labels.read_text()
    labels.write_text(labels.read_text().replace("serve: 0.5", "serve: 0.625"))
    with pytest.raises(CheckpointError, match="mumic seal"):
        read_checkpoint(checkpoint)
    before = read_card(checkpoint)
    seal(checkpoint)
    classifier = Classifier.load(checkpoint, device="cpu", precision="fp32")
    assert {label.thresholds.serve for label in classifier.labels.labels} == {0.625}
    after = read_card(checkpoint)
    changed = {key for key in before if before[key] != after[key]}
    assert changed == {"sha256"}


def drop_recorded_ids(checkpoint: Path) -> None:
    """Make the label embeddings those of version 0.2, which did not record the ids."""
    path = checkpoint / LABEL_EMBEDDINGS
    save_file({"text_embeddings": load_file(path)["text_embeddings"]}, path)


@pytest.mark.parametrize("recorded", ["embeddings", "histograms"])
def test_seal_with_other_label_ids_is_refused(checkpoint: Path, recorded: str) -> None:
    ids = builtin_label_set().ids
    if recorded == "histograms":
        card = read_card(checkpoint)
        card["metrics"]["score_histograms"] = {id: [1] * 10 for id in ids}
        (checkpoint / "mumic.json").write_text(json.dumps(card))
        drop_recorded_ids(checkpoint)
    labels = checkpoint / "labels.yaml"
    labels.write_text(labels.read_text().replace("id: sauna", "id: steam_room"))
    before = read_card(checkpoint)
    with pytest.raises(CheckpointError) as caught:
        seal(checkpoint)
    message = str(caught.value)
    assert "not those of tiny 1.2.3 (new: steam_room; missing: sauna)" in message
    assert f"mumic import {checkpoint} --labels {labels} --out DIR" in message
    assert read_card(checkpoint) == before


def test_seal_without_recorded_label_ids_works(checkpoint: Path) -> None:
    drop_recorded_ids(checkpoint)
    labels = checkpoint / "labels.yaml"
    labels.write_text(labels.read_text().replace("id: sauna", "id: steam_room"))
    seal(checkpoint)
    assert "steam_room" in read_checkpoint(checkpoint).labels.ids


def test_edited_label_texts_load_after_seal(checkpoint: Path) -> None:
    labels = checkpoint / "labels.yaml"
    assert "name: Sauna" in labels.read_text()
    labels.write_text(labels.read_text().replace("name: Sauna", "name: Steam room"))
    seal(checkpoint)
    assert "a photo with steam room" in read_checkpoint(checkpoint).labels.prompts


def test_seal_of_weights_with_nan_names_tensor(checkpoint: Path) -> None:
    weights = checkpoint / "open_clip_model.safetensors"
    state = load_file(weights)
    state["visual.proj"][0, 0] = float("nan")
    save_file(state, weights)
    before = read_card(checkpoint)
    with pytest.raises(CheckpointError, match=r"tensor visual\.proj contains NaN"):
        seal(checkpoint)
    assert read_card(checkpoint) == before


def test_label_embeddings_are_read_from_signed_cache(checkpoint: Path) -> None:
    edit_tensors(
        checkpoint / LABEL_EMBEDDINGS,
        lambda cache: cache.update(text_embeddings=cache["text_embeddings"].roll(1, 0)),
    )
    rehash(checkpoint)
    verified = read_checkpoint(checkpoint)
    cached = label_embeddings(verified, load_model(verified))
    assert torch.equal(cached, load_file(checkpoint / LABEL_EMBEDDINGS)["text_embeddings"])


def test_seal_does_not_change_loaded_model(checkpoint: Path) -> None:
    classifier = Classifier.load(checkpoint, device="cpu", precision="fp32")
    before = classifier.text_embeddings.clone()
    (checkpoint / LABEL_EMBEDDINGS).write_bytes(b"")
    assert torch.equal(classifier.text_embeddings, before)


def test_altered_cache_is_ignored(
    checkpoint: Path, tiny_classifier: Classifier, caplog: pytest.LogCaptureFixture
) -> None:
    edit_tensors(
        checkpoint / LABEL_EMBEDDINGS,
        lambda cache: cache.update(text_embeddings=cache["text_embeddings"].roll(1, 0)),
    )
    assert_embedded_anew(checkpoint, tiny_classifier)
    assert f"{checkpoint / LABEL_EMBEDDINGS} does not match this checkpoint" in caplog.text


def test_truncated_cache_is_ignored(checkpoint: Path, tiny_classifier: Classifier) -> None:
    cache = checkpoint / LABEL_EMBEDDINGS
    cache.write_bytes(cache.read_bytes()[:-100])
    assert_embedded_anew(checkpoint, tiny_classifier)


def test_cache_of_other_weights_is_ignored(
    checkpoint: Path, tiny_classifier: Classifier, tmp_path: Path
) -> None:
    other = write_tiny(tmp_path / "other", seed=1)
    shutil.copy(other / LABEL_EMBEDDINGS, checkpoint)
    rehash(checkpoint)  # so that only the key of the cache differs
    assert_embedded_anew(checkpoint, tiny_classifier)


def test_cache_of_other_prompts_is_ignored(checkpoint: Path) -> None:
    labels = checkpoint / "labels.yaml"
    labels.write_text(labels.read_text().replace("a photo with {}", "a picture of {}"))
    rehash(checkpoint)
    classifier = Classifier.load(checkpoint, device="cpu", precision="fp32")
    torch.testing.assert_close(
        classifier.text_embeddings, classifier.embed_texts(classifier.labels.prompts)
    )


@pytest.mark.parametrize("size_bytes", [100, 100_000])
def test_full_disk_keeps_old_checkpoint(checkpoint: Path, size_bytes: int) -> None:
    before = {file: (checkpoint / file).read_bytes() for file in FILES}
    full = pytest.raises(DiskError, match=r"cannot be written: .*; existing files are unchanged")
    with full, limited_file_size(size_bytes):
        write_tiny(checkpoint, seed=1)
    assert {file: (checkpoint / file).read_bytes() for file in FILES} == before
    assert [path.name for path in checkpoint.parent.iterdir()] == [checkpoint.name]


def test_seal_on_full_disk_raises(checkpoint: Path) -> None:
    with pytest.raises(DiskError, match="it is not signed"), limited_file_size(1000):
        seal(checkpoint)
    seal(checkpoint)
    read_checkpoint(checkpoint)


def test_read_only_directory_without_cache_loads(
    checkpoint: Path, tiny_classifier: Classifier, caplog: pytest.LogCaptureFixture
) -> None:
    (checkpoint / LABEL_EMBEDDINGS).unlink()
    files = sorted(checkpoint.iterdir())
    for path in (*files, checkpoint):
        path.chmod(path.stat().st_mode & ~0o222)
    with caplog.at_level(logging.WARNING):
        assert_embedded_anew(checkpoint, tiny_classifier)
    assert sorted(checkpoint.iterdir()) == files
    assert caplog.text == ""
    checkpoint.chmod(0o755)


def assert_embedded_anew(checkpoint: Path, tiny_classifier: Classifier) -> None:
    classifier = Classifier.load(checkpoint, device="cpu", precision="fp32")
    torch.testing.assert_close(classifier.text_embeddings, tiny_classifier.text_embeddings)


def read_card(directory: Path) -> dict[str, Any]:
    card: dict[str, Any] = json.loads((directory / "mumic.json").read_bytes())
    return card
