"""The class embeddings of labels that were fitted to example photos."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from app.core.labels import LabelSet
from app.errors import CheckpointError

FIT_COMMAND = "mumic labels add"
MAX_LENGTH_ERROR = 1e-3


def read_class_embeddings(path: Path, dimension: int) -> dict[str, Tensor]:
    """Read class embeddings; without the file there are none.

    Args:
        path: the file, in a checkpoint directory.
        dimension: D, of the embeddings.

    Returns:
        Label id to (D,) float32 of unit length.

    Raises:
        CheckpointError: the file cannot be read, or a vector is invalid.
    """
    if not path.exists():
        return {}
    try:
        # Cloned since the tensors map the file.
        found = {name: tensor.clone() for name, tensor in load_file(path).items()}
        for name, tensor in found.items():
            _check(name, tensor, dimension)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: not the class embeddings of this checkpoint: {error}. Copy the checkpoint "
            f"again, or fit the labels again: {FIT_COMMAND}"
        ) from error
    return found


def check_fitted_labels(found: Mapping[str, Tensor], labels: LabelSet, path: Path) -> None:
    """Check that class embeddings are those of the fitted labels of a label set.

    Args:
        found: label id to class embedding.
        labels: the label set, which says which labels are fitted.
        path: the file, for the message.

    Raises:
        CheckpointError: a class embedding is missing, or its label is not fitted.
    """
    fitted = set(labels.fitted_ids)
    if missing := sorted(fitted - found.keys()):
        raise CheckpointError(
            f"{path}: has no class embedding of {', '.join(missing)}, which labels.yaml says were "
            "fitted to example photos. Copy the checkpoint again; to score such a label by its "
            f"text, set its examples to 0 in labels.yaml and run mumic seal {path.parent}"
        )
    if unused := sorted(found.keys() - fitted):
        raise CheckpointError(
            f"{path}: has a class embedding of {', '.join(unused)}, which labels.yaml does not say "
            f"was fitted to example photos. Copy the checkpoint again; remove a label with: mumic "
            "labels remove"
        )


def save_class_embeddings(embeddings: Mapping[str, Tensor], path: Path, key: str) -> None:
    """Write class embeddings; without any, no file is left.

    Args:
        embeddings: label id to (D,) float32 of unit length.
        path: the file, in a staging directory.
        key: of the towers.
    """
    if embeddings:
        rows = {id: embeddings[id].contiguous() for id in sorted(embeddings)}
        save_file(rows, path, metadata={"key": key})
    else:
        path.unlink(missing_ok=True)


def _check(name: str, tensor: Tensor, dimension: int) -> None:
    if tensor.shape != (dimension,) or tensor.dtype != torch.float32:
        raise ValueError(
            f"{name}: must be {dimension} float32 numbers, got {tuple(tensor.shape)} {tensor.dtype}"
        )
    if not abs(tensor.norm().item() - 1) <= MAX_LENGTH_ERROR:  # also a NaN
        raise ValueError(f"{name}: must have unit length, got {tensor.norm().item():g}")
