"""Versions of a checkpoint that differ in labels added at run time.

A server never changes its checkpoint directory. A change of the labels makes a complete checkpoint
directory, a version, in a folder of versions: FOLDER/NAME-KEY/1, 2, 3, ... The key is that of the
original checkpoint, so that another one, or one whose labels were edited, has no version. A version
appears by one rename, and the one with the highest number is served.
"""

import fcntl
import hashlib
import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from app.core.checkpoint.card import CARD_FILE, LabelChange, file_hash, read_card, write_card
from app.core.checkpoint.class_embeddings_file import save_class_embeddings
from app.core.checkpoint.directory import Checkpoint, save_prompt_embeddings
from app.core.checkpoint.layout import (
    CLASS_EMBEDDINGS_FILE,
    CONFIG_FILE,
    KNOWN_PHOTOS_FILE,
    LABEL_EMBEDDINGS_FILE,
    LABELS_FILE,
    README_FILE,
    WEIGHTS_FILE,
    ZERO_SHOT_FILE,
    towers_key,
)
from app.core.files import disk_errors, staging_directory
from app.core.labels import LabelSet, dump_label_set
from app.errors import RefusedCheckpointError

LOCK_FILE = "versions.lock"
UNCHANGED_FILES = (WEIGHTS_FILE, CONFIG_FILE, ZERO_SHOT_FILE, KNOWN_PHOTOS_FILE, README_FILE)
KEPT_VERSIONS = 10  # older ones are deleted
KEY_CHARS = 12
NUMBERED = re.compile(r"(.*)\+([0-9]+)", re.DOTALL)

log = logging.getLogger("mumic.checkpoint")


def next_labels_version(version: str) -> str:
    """Return the version of a label set after one more change: 3.0.0, 3.0.0+1, 3.0.0+2, ..."""
    found = NUMBERED.fullmatch(version)
    return f"{found[1]}+{int(found[2]) + 1}" if found else f"{version}+1"


def versions_folder(directory: Path, parent: Path | None) -> Path:
    """Return the folder of a checkpoint's versions, which may not exist.

    Args:
        directory: the checkpoint, or one of the versions.
        parent: the folder that it is in; by default that of the checkpoint.

    Raises:
        CheckpointError: the checkpoint has no valid card.
    """
    directory = directory.resolve()
    if (directory.parent / LOCK_FILE).exists():
        return directory.parent
    card = read_card(directory)
    source = towers_key(card.sha256) + card.sha256[LABELS_FILE]
    key = hashlib.sha256(source.encode()).hexdigest()[:KEY_CHARS]
    return (parent or directory.parent).resolve() / f"{card.name}-{key}"


def newest_version(folder: Path) -> Path | None:
    """Return the version with the highest number, or None if there is none."""
    numbers = [int(path.name) for path in folder.glob("*") if path.name.isdecimal()]
    return folder / str(max(numbers)) if numbers else None


def served_directory(directory: Path, parent: Path | None) -> Path:
    """Return what is served as a checkpoint: its newest version, or itself if it has none.

    Args:
        directory: the checkpoint. If it is one of the versions, that one is served.
        parent: the folder that the folder of versions is in; by default that of the checkpoint.

    Raises:
        CheckpointError: the checkpoint has no valid card.
    """
    if not (directory / CARD_FILE).is_file():
        return directory  # what is wrong with it is found when it is read
    folder = versions_folder(directory, parent)
    if folder == directory.resolve().parent:
        return directory
    if newest := newest_version(folder):
        log.info("%s is served, %s with the labels that were added to it", newest, directory)
        return newest
    if others := _versions_of_others(directory, folder):
        log.warning(
            "%s is served without the labels that were added to another checkpoint of its name or "
            "before its labels were edited: %s. Carry them over with: mumic labels export",
            directory,
            ", ".join(map(str, others)),
        )
    return directory


def _versions_of_others(directory: Path, folder: Path) -> list[Path]:
    """Return the newest versions of checkpoints with the same name but other weights or labels."""
    pattern = f"{read_card(directory).name}-{'[0-9a-f]' * KEY_CHARS}"
    others = [path for path in sorted(folder.parent.glob(pattern)) if path != folder]
    return [found for path in others if (found := newest_version(path))]


@contextmanager
def next_version(checkpoint: Checkpoint, parent: Path | None) -> Iterator[Path]:
    """Reserve the directory of a checkpoint's next version while the block writes it.

    Args:
        checkpoint: as it is served, a version or the original.
        parent: the folder that the folder of versions is in; by default that of the checkpoint.

    Yields:
        The directory, which does not exist.

    Raises:
        RefusedCheckpointError: another process has written a newer version.
        DiskError: the folder cannot be written.
    """
    folder = versions_folder(checkpoint.directory, parent)
    remedy = "set MUMIC_LABELS_DIR to a folder that the server may write"
    with disk_errors(folder, f"no label was changed; {remedy}"):
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        newest = newest_version(folder)
        if newest is not None and newest != checkpoint.directory.resolve():
            raise RefusedCheckpointError(
                f"version {newest} exists, but {checkpoint.directory} is served; reload the "
                "checkpoint first (POST /admin/reload), or delete the newer version"
            )
        for left_over in folder.glob(".*-*"):  # of a process that was killed
            shutil.rmtree(left_over, ignore_errors=True)
        number = int(newest.name) + 1 if newest else 1
        out = folder / str(number)
        try:
            yield out
        except BaseException:
            shutil.rmtree(out, ignore_errors=True)
            raise
        _delete_old(folder, number - KEPT_VERSIONS)
    finally:
        os.close(lock)


def write_labels(
    checkpoint: Checkpoint,
    out: Path,
    labels: LabelSet,
    *,
    prompt_embeddings: Tensor,
    class_embeddings: Mapping[str, Tensor],
    change: LabelChange,
    metrics: Mapping[str, Any],
) -> None:
    """Write a copy of a checkpoint with one label more or less, atomically, without its model.

    Args:
        checkpoint: the source.
        out: the target; an existing checkpoint is replaced, and may be the source itself.
        labels: the new label set.
        prompt_embeddings: (C, D) float32 unit rows, of its prompts.
        class_embeddings: of its fitted labels.
        change: the entry for the card.
        metrics: of the card.

    Raises:
        CheckpointError: the target exists and is not a checkpoint.
        DiskError: the target cannot be written.
    """
    card, source = checkpoint.card, checkpoint.directory
    with staging_directory(out, CARD_FILE) as staging:
        for name in UNCHANGED_FILES:
            if (source / name).exists():
                _copy(source / name, staging / name, link=(source.parent / LOCK_FILE).exists())
        dump_label_set(labels, staging / LABELS_FILE)
        save_class_embeddings(
            class_embeddings, staging / CLASS_EMBEDDINGS_FILE, towers_key(card.sha256)
        )
        hashes = {name: card.sha256[name] for name in UNCHANGED_FILES if name in card.sha256}
        hashes[LABELS_FILE] = file_hash(staging / LABELS_FILE)
        hashes[LABEL_EMBEDDINGS_FILE] = save_prompt_embeddings(
            staging, labels, prompt_embeddings, hashes
        )
        if class_embeddings:
            hashes[CLASS_EMBEDDINGS_FILE] = file_hash(staging / CLASS_EMBEDDINGS_FILE)
        changes = (*card.label_changes, change)
        update = {"sha256": hashes, "label_changes": changes, "metrics": dict(metrics)}
        write_card(staging, card.model_copy(update=update))


def _copy(source: Path, target: Path, *, link: bool) -> None:
    """Copy a file, or link it to that of another version, which no one edits."""
    if link:
        try:
            os.link(source, target)
        except OSError:  # such as a file system without links
            shutil.copyfile(source, target)
    else:
        shutil.copyfile(source, target)


def _delete_old(folder: Path, last: int) -> None:
    for path in folder.glob("*"):
        if path.name.isdecimal() and int(path.name) <= last:
            shutil.rmtree(path, ignore_errors=True)
