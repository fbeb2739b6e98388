"""Indexes of photos, written through the code under test."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.core.checkpoint import Checkpoint
from app.errors import ImageError
from app.index import FolderUpdate, UpdateCounts, open_for_writing
from app.tagger import EmbeddedPhoto

Embed = Callable[[list[bytes]], Sequence[EmbeddedPhoto]]
DIMENSION = 32  # of the tiny checkpoint


def unit_row(seed: int) -> NDArray[np.float32]:
    """Return a random unit vector."""
    row = np.random.default_rng(seed).normal(size=DIMENSION).astype(np.float32)
    unit: NDArray[np.float32] = row / np.linalg.norm(row)
    return unit


def embed_bytes(files: list[bytes]) -> list[EmbeddedPhoto]:
    """Embed files by their hash; a file that begins with `bad` cannot be used."""
    return [
        EmbeddedPhoto("", error=ImageError("corrupt", "bad"))
        if file.startswith(b"bad")
        else EmbeddedPhoto(
            "", 40, 30, unit_row(int.from_bytes(hashlib.sha256(file).digest()[:4], "big"))
        )
        for file in files
    ]


def update_index(
    directory: Path,
    checkpoint: Checkpoint,
    files: Mapping[str, bytes],
    embed: Embed = embed_bytes,
    *,
    rebuild: bool = False,
    unreadable: Sequence[str] = (),
) -> UpdateCounts:
    """Bring an index up to date with a folder.

    Args:
        directory: the index.
        checkpoint: of the tiny model.
        files: the folder: the bytes of each file by its name.
        embed: embeds the bytes of files.
        rebuild: whether to begin with an empty index.
        unreadable: names of files and folders that exist and cannot be read.
    """
    with open_for_writing(directory, checkpoint, DIMENSION, rebuild=rebuild) as writer:
        update = FolderUpdate(writer, embed, commit_photos=2)
        for name in unreadable:
            update.keep(name)
        for id, content in files.items():
            (outcome,) = update.embed([content])
            if not isinstance(outcome, ImageError):
                assert update.put(id, outcome)
        update.finish()
    return update.counts
