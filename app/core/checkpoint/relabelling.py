"""A checkpoint with an edited label set: other thresholds or texts, the same weights."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.core.checkpoint.card import CARD_FILE, read_card, write_card
from app.core.checkpoint.directory import LABELS_FILE, Checkpoint, seal
from app.core.files import staging_directory
from app.core.labels import LabelSet, dump_label_set


def write_relabelled(
    checkpoint: Checkpoint, labels: LabelSet, out: Path, metrics: Mapping[str, Any]
) -> None:
    """Write a checkpoint's files with another label set, signed; whole or not at all.

    The label embeddings are made anew; all other files are copied as they are.

    Args:
        checkpoint: where all but the label set comes from.
        labels: the label set.
        out: where it goes; the checkpoint that is there is replaced, be it this one.
        metrics: what its card says beside what it said.

    Raises:
        CheckpointError: something else than a checkpoint is there.
        DiskError: it cannot be written.
    """
    with staging_directory(out, CARD_FILE) as draft:
        shutil.copytree(checkpoint.directory, draft, dirs_exist_ok=True)
        dump_label_set(labels, draft / LABELS_FILE)
        seal(draft)
        card = read_card(draft)
        write_card(draft, card.model_copy(update={"metrics": {**card.metrics, **metrics}}))
