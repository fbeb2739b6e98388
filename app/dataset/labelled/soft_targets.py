"""A teacher's targets: probabilities for pairs that nobody annotated."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from app.errors import DataError

UNKNOWN = -1.0


def write_soft_targets(
    path: Path, files: Sequence[str], texts: Sequence[str], targets: Tensor
) -> None:
    """Write a teacher's targets.

    Args:
        path: the safetensors file.
        files: N photos, as the manifest names them.
        texts: T prompts, rendered.
        targets: (N, T) in [0, 1], or -1 where there is none.
    """
    metadata = {"files": json.dumps(list(files)), "texts": json.dumps(list(texts))}
    save_file({"targets": targets.half()}, path, metadata=metadata)


def read_soft_targets(path: Path | None) -> tuple[list[str], list[str], Tensor]:
    """Files, texts and (N, T) float16 targets of a teacher; empty without a path.

    Raises:
        DataError: the file cannot be read or its parts do not fit together.
    """
    if path is None:
        return [], [], torch.empty((0, 0), dtype=torch.float16)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            files, texts = json.loads(metadata["files"]), json.loads(metadata["texts"])
            targets: Tensor = file.get_tensor("targets").half()
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise DataError(f"{path}: not a file of soft targets: {error}") from error
    if targets.shape != (len(files), len(texts)):
        raise DataError(
            f"{path}: targets are {tuple(targets.shape)}, for {len(files)} files and "
            f"{len(texts)} texts"
        )
    if not bool(((targets >= 0) & (targets <= 1) | (targets == UNKNOWN)).all()):
        raise DataError(f"{path}: targets must be in [0, 1], or -1 where there is none")
    return files, texts, targets
