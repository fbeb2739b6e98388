"""The calibration of zero-shot scores in a checkpoint directory."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from app.core.checkpoint.directory import (
    CALIBRATE_COMMAND,
    ZERO_SHOT_FILE,
    Checkpoint,
    towers_key,
)
from app.core.checkpoint.relabelling import signed_copy
from app.core.model import Moments, ZeroShotCalibration
from app.errors import CheckpointError


def zero_shot_calibration(checkpoint: Checkpoint) -> ZeroShotCalibration | None:
    """Return the calibration of zero-shot scores, or None if the checkpoint has none.

    Raises:
        CheckpointError: the file lacks a tensor, or shapes do not match.
    """
    path = checkpoint.directory / ZERO_SHOT_FILE
    if ZERO_SHOT_FILE not in checkpoint.card.sha256:
        return None
    dimension = checkpoint.config["model_cfg"]["embed_dim"]
    try:
        # Cloned since the tensors map the file, which the command overwrites.
        tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
        photos, texts = (
            Moments(
                tensors[f"{name}_mean"].reshape(dimension),
                tensors[f"{name}_covariance"].reshape(dimension, dimension),
            )
            for name in ("photos", "texts")
        )
        scale, offset = tensors["affine"].tolist()
    except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: not a calibration of this checkpoint: {error!r}. Delete it, run mumic seal "
            f"{checkpoint.directory}, and fit a new one: {CALIBRATE_COMMAND}"
        ) from error
    return ZeroShotCalibration(photos, texts, scale, offset)


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
        metrics: entries to add to the metrics of the card.

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
    with signed_copy(checkpoint, out, metrics) as staging:
        save_file(
            {name: tensor.contiguous() for name, tensor in tensors.items()},
            staging / ZERO_SHOT_FILE,
            metadata={"key": towers_key(checkpoint.card.sha256)},
        )
