"""Write a copy of a checkpoint with the same weights and one other file, signed again."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.core.checkpoint.card import CARD_FILE, read_card, write_card
from app.core.checkpoint.directory import Checkpoint, seal
from app.core.checkpoint.layout import LABELS_FILE
from app.core.files import staging_directory
from app.core.labels import LabelSet, dump_label_set


@contextmanager
def signed_copy(checkpoint: Checkpoint, out: Path, metrics: Mapping[str, Any]) -> Iterator[Path]:
    """Copy a checkpoint to a directory that the block edits, and sign it, atomically.

    Args:
        checkpoint: the source of all files.
        out: the target; an existing checkpoint is replaced, and may be the source itself.
        metrics: entries to add to the metrics of the card.

    Yields:
        The copy, a staging directory. It replaces the target if the block succeeds.

    Raises:
        CheckpointError: the target exists and is not a checkpoint.
        DiskError: the target cannot be written.
    """
    with staging_directory(out, CARD_FILE) as staging:
        shutil.copytree(checkpoint.directory, staging, dirs_exist_ok=True)
        yield staging
        seal(staging)
        card = read_card(staging)
        write_card(staging, card.model_copy(update={"metrics": {**card.metrics, **metrics}}))


def write_relabelled(
    checkpoint: Checkpoint, labels: LabelSet, out: Path, metrics: Mapping[str, Any]
) -> None:
    """Write a signed copy of a checkpoint with another label set, atomically.

    The label embeddings are recomputed; all other files are copied unchanged.

    Args:
        checkpoint: the source of all files except the label set.
        labels: the new label set.
        out: the target; an existing checkpoint is replaced, and may be the source itself.
        metrics: entries to add to the metrics of the card.

    Raises:
        CheckpointError: the target exists and is not a checkpoint.
        DiskError: the target cannot be written.
    """
    with signed_copy(checkpoint, out, metrics) as staging:
        dump_label_set(labels, staging / LABELS_FILE)
