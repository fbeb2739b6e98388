"""Soft targets: a teacher model's probabilities for pairs without human labels."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from app.errors import DataError

UNKNOWN_TARGET = -1.0


def write_soft_targets(
    path: Path, files: Sequence[str], texts: Sequence[str], targets: Tensor
) -> None:
    """Write the soft targets of a teacher.

    Args:
        path: the safetensors file.
        files: N photos, as in the manifest.
        texts: T rendered prompts.
        targets: (N, T) in [0, 1], or -1 where the teacher has no target.
    """
    metadata = {"files": json.dumps(list(files)), "texts": json.dumps(list(texts))}
    save_file({"targets": targets.half()}, path, metadata=metadata)


def read_soft_targets(path: Path | None) -> tuple[list[str], list[str], Tensor]:
    """Read the files, texts and (N, T) float16 targets of a teacher; empty without a path.

    Raises:
        DataError: the file cannot be read, or its files, texts and targets are inconsistent.
    """
    if path is None:
        return [], [], torch.empty((0, 0), dtype=torch.float16)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            files, texts = json.loads(metadata["files"]), json.loads(metadata["texts"])
            targets: Tensor = file.get_tensor("targets").half()
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise DataError(f"{path}: is not a soft targets file: {error}") from error
    if targets.shape != (len(files), len(texts)):
        raise DataError(
            f"{path}: targets are {tuple(targets.shape)}, for {len(files)} files and "
            f"{len(texts)} texts"
        )
    if not bool(((targets >= 0) & (targets <= 1) | (targets == UNKNOWN_TARGET)).all()):
        raise DataError(f"{path}: targets must be in [0, 1], or -1 where unknown")
    return files, texts, targets
