"""Files that a checkpoint directory may have, each bound to the weights and signed in the card."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from app.core.checkpoint.calibration_file import CALIBRATE_COMMAND, read_calibration
from app.core.checkpoint.card import CARD_FILE, Card, file_hash
from app.core.checkpoint.class_embeddings_file import (
    FIT_COMMAND,
    check_fitted_labels,
    read_class_embeddings,
)
from app.core.checkpoint.known_photos_file import KNOWN_PHOTOS_COMMAND, read_known_photos
from app.core.checkpoint.layout import (
    CLASS_EMBEDDINGS_FILE,
    KNOWN_PHOTOS_FILE,
    ZERO_SHOT_FILE,
    key_of,
    towers_key,
)
from app.core.labels import LabelSet
from app.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class OptionalFile:
    """One kind of optional file.

    Attributes:
        name: of the file.
        read: reads and checks it, given D.
        command: makes it again.
        metrics: the entry of the card's metrics that describes it.
    """

    name: str
    read: Callable[[Path, int], object]
    command: str
    metrics: str


OPTIONAL_FILES = (
    OptionalFile(ZERO_SHOT_FILE, read_calibration, CALIBRATE_COMMAND, "zero_shot"),
    OptionalFile(KNOWN_PHOTOS_FILE, read_known_photos, KNOWN_PHOTOS_COMMAND, "known_photos"),
    OptionalFile(CLASS_EMBEDDINGS_FILE, read_class_embeddings, FIT_COMMAND, "class_embeddings"),
)


def verify_optional_files(directory: Path, card: Card) -> None:
    """Compare the optional files of a checkpoint with its card.

    Raises:
        CheckpointError: one is altered, not signed or missing.
    """
    for kind in OPTIONAL_FILES:
        path = directory / kind.name
        signed = card.sha256.get(path.name)
        if signed is None and not path.exists():
            continue
        if signed is None or not path.exists():
            found = "is missing" if signed else f"has no sha256 in {CARD_FILE}"
            raise CheckpointError(
                f"{path}: {found}. Copy the checkpoint again; if you changed it on purpose, sign "
                f"it with: mumic seal {directory}"
            )
        if signed != file_hash(path):
            raise CheckpointError(
                f"{path}: its sha256 differs from the one in {CARD_FILE}: the file was altered or "
                f"is incomplete. Copy the checkpoint again, or fit it again: {kind.command}"
            )


def sign_optional_files(
    directory: Path, hashes: Mapping[str, str], dimension: int, labels: LabelSet
) -> dict[str, str]:
    """Check the optional files of a checkpoint and return their hashes.

    Args:
        directory: the checkpoint.
        hashes: of its weights and its configuration.
        dimension: D, of its embeddings.
        labels: its label set.

    Raises:
        CheckpointError: one is invalid or was fitted to other weights, or a label is fitted and
            the class embeddings are missing.
    """
    signed = {}
    for kind in OPTIONAL_FILES:
        path = directory / kind.name
        if path.exists():
            _refuse_stale(path, towers_key(hashes), kind)
            kind.read(path, dimension)
            signed[kind.name] = file_hash(path)
    path = directory / CLASS_EMBEDDINGS_FILE
    check_fitted_labels(read_class_embeddings(path, dimension), labels, path)
    return signed


def without_deleted(metrics: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """Return a card's metrics without those of optional files that were deleted."""
    deleted = {kind.metrics for kind in OPTIONAL_FILES if not (directory / kind.name).exists()}
    return {name: value for name, value in metrics.items() if name not in deleted}


def _refuse_stale(path: Path, key: str, kind: OptionalFile) -> None:
    """Reject a file that was fitted to other towers.

    Raises:
        CheckpointError: it has the key of another checkpoint, or is not a safetensors file.
    """
    try:
        fitted = key_of(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path}: not a complete safetensors file ({error}). Delete it and seal the "
            f"checkpoint again"
        ) from error
    if fitted != key:
        raise CheckpointError(
            f"{path}: was fitted to other weights or another configuration. Delete it, seal "
            f"the checkpoint again, and fit a new one: {kind.command}"
        )
