"""The calibration of zero-shot scores and the known photos of a checkpoint directory."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from app.core.checkpoint.calibration_file import read_calibration
from app.core.checkpoint.directory import Checkpoint
from app.core.checkpoint.known_photos_file import KnownPhotos, read_known_photos, save_known_photos
from app.core.checkpoint.layout import KNOWN_PHOTOS_FILE, ZERO_SHOT_FILE, towers_key
from app.core.checkpoint.relabelling import signed_copy
from app.core.model import ZeroShotCalibration


def zero_shot_calibration(checkpoint: Checkpoint) -> ZeroShotCalibration | None:
    """Return the calibration of zero-shot scores, or None if the checkpoint has none.

    Raises:
        CheckpointError: a tensor is missing, has another shape or impossible values.
    """
    if ZERO_SHOT_FILE not in checkpoint.card.sha256:
        return None
    path = checkpoint.directory / ZERO_SHOT_FILE
    return read_calibration(path, checkpoint.dimension)


def write_zero_shot_calibration(
    checkpoint: Checkpoint,
    calibration: ZeroShotCalibration,
    out: Path,
    metrics: Mapping[str, Any],
) -> None:
    """Write a signed copy of a checkpoint with a calibration of zero-shot scores, atomically.

    Args:
        checkpoint: the source of all other files.
        calibration: fitted to this checkpoint's embeddings.
        out: the target; an existing checkpoint is replaced, and may be the source itself.
        metrics: of the calibration, for the card.

    Raises:
        CheckpointError: the target exists and is not a checkpoint.
        DiskError: the target cannot be written.
    """
    tensors = {
        "photos_mean": calibration.photos.mean,
        "photos_covariance": calibration.photos.covariance,
        "texts_mean": calibration.texts.mean,
        "texts_covariance": calibration.texts.covariance,
        "affine": torch.tensor([calibration.scale, calibration.offset]),
    }
    with signed_copy(checkpoint, out, {"zero_shot": metrics}) as staging:
        save_file(
            {name: tensor.contiguous() for name, tensor in tensors.items()},
            staging / ZERO_SHOT_FILE,
            metadata={"key": towers_key(checkpoint.card.sha256)},
        )


def known_photos(checkpoint: Checkpoint) -> KnownPhotos | None:
    """Return the known photos, or None if the checkpoint has none.

    Raises:
        CheckpointError: a tensor is missing, has another shape or impossible values.
    """
    if KNOWN_PHOTOS_FILE not in checkpoint.card.sha256:
        return None
    return read_known_photos(checkpoint.directory / KNOWN_PHOTOS_FILE, checkpoint.dimension)


def write_known_photos(
    checkpoint: Checkpoint, known: KnownPhotos, out: Path, metrics: Mapping[str, Any]
) -> None:
    """Write a signed copy of a checkpoint with known photos, atomically.

    Args:
        checkpoint: the source of all other files.
        known: embedded by this checkpoint.
        out: the target; an existing checkpoint is replaced, and may be the source itself.
        metrics: that describe the photos, for the card.

    Raises:
        CheckpointError: the target exists and is not a checkpoint.
        DiskError: the target cannot be written.
    """
    with signed_copy(checkpoint, out, {"known_photos": metrics}) as staging:
        save_known_photos(known, staging / KNOWN_PHOTOS_FILE, towers_key(checkpoint.card.sha256))
