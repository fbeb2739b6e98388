"""Reads and writes embeddings of photos: safetensors, with the names of the photos."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from app.core.files import atomic_file
from app.core.model import l2_normalize
from app.errors import DataError


def write_embeddings(
    path: Path, files: Sequence[str], embeddings: Tensor, *, key: str = ""
) -> None:
    """Write embeddings.

    Args:
        path: the safetensors file.
        files: N photos, relative to the photo folder.
        embeddings: (N, D) unit rows, stored as float16.
        key: identifies what the embeddings were computed from, for `has_key`.

    Raises:
        DiskError: the file cannot be written, as on a full disk.
    """
    metadata = {"files": json.dumps(list(files)), "key": key}
    with atomic_file(path) as file:
        file.write(save({"embeddings": embeddings.half().contiguous()}, metadata=metadata))


def has_key(path: Path, key: str) -> bool:
    """Return whether a file exists and was written with a key."""
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("key") == key
    except (OSError, SafetensorError):
        return False


def read_embeddings(path: Path) -> tuple[list[str], Tensor]:
    """Read embeddings.

    Returns:
        N files and their (N, D) float32 unit rows.

    Raises:
        DataError: the file cannot be read, files and embeddings differ in number, a file occurs
            twice, or a value is not finite.
    """
    try:
        with safe_open(path, framework="pt") as file:
            files = json.loads((file.metadata() or {})["files"])
            embeddings = l2_normalize(file.get_tensor("embeddings"))
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise DataError(
            f"{path}: not a file of embeddings (safetensors with the tensor embeddings and a JSON "
            f"list files in the metadata): {error}"
        ) from error
    if embeddings.ndim != 2 or len(embeddings) != len(files):
        raise DataError(
            f"{path}: embeddings are {tuple(embeddings.shape)}, for {len(files)} files; must be "
            "one row per file"
        )
    if len(set(files)) != len(files):
        twice = next(file for i, file in enumerate(files) if file in files[:i])
        raise DataError(f"{path}: {twice} occurs twice")
    broken = (~torch.isfinite(embeddings).all(dim=1)).nonzero().flatten().tolist()
    if broken:
        raise DataError(
            f"{path}: the embedding of {files[broken[0]]} has values that are not finite"
        )
    return files, embeddings
