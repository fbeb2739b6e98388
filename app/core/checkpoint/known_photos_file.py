"""Known photos: embeddings with labels, which new labels are fitted against."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from app.core.model import l2_normalize
from app.errors import CheckpointError

KNOWN_PHOTOS_COMMAND = "mumic labels known-photos"
MAX_KNOWN_PHOTOS = 2000
UNKNOWN = -1


@dataclass(frozen=True, slots=True, eq=False)
class KnownPhotos:
    """Embeddings of photos and what is known of their labels.

    Attributes:
        embeddings: (N, D) float32 unit rows.
        targets: label id to (N,) int8: 1 present, 0 absent, -1 unknown.
    """

    embeddings: Tensor
    targets: dict[str, Tensor]


def read_known_photos(path: Path, dimension: int) -> KnownPhotos:
    """Read known photos.

    Args:
        path: the file, in a checkpoint directory.
        dimension: D, of the embeddings.

    Raises:
        CheckpointError: a tensor is missing, has another shape or impossible values.
    """
    try:
        return _parse(load_file(path), dimension)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: not the known photos of this checkpoint: {error}. Copy the checkpoint again, "
            f"or delete the file, run mumic seal {path.parent}, and write new ones: "
            f"{KNOWN_PHOTOS_COMMAND}"
        ) from error


def save_known_photos(known: KnownPhotos, path: Path, key: str) -> None:
    """Write known photos, the embeddings as float16.

    Args:
        known: at most `MAX_KNOWN_PHOTOS`.
        path: the file, in a staging directory.
        key: of the towers.
    """
    ids = json.dumps(list(known.targets)).encode()
    save_file(
        {
            "embeddings": known.embeddings.half().contiguous(),
            "targets": torch.stack(list(known.targets.values()), dim=1).contiguous(),
            "label_ids": torch.tensor(list(ids), dtype=torch.uint8),
        },
        path,
        metadata={"key": key},
    )


def _parse(tensors: dict[str, Tensor], dimension: int) -> KnownPhotos:
    ids = json.loads(bytes(tensors["label_ids"].tolist()))
    embeddings, targets = tensors["embeddings"], tensors["targets"]
    count = len(embeddings)
    if not 0 < count <= MAX_KNOWN_PHOTOS or embeddings.shape != (count, dimension):
        raise ValueError(
            f"embeddings: must be 1 to {MAX_KNOWN_PHOTOS} rows of {dimension} numbers, got "
            f"{tuple(embeddings.shape)}"
        )
    if not embeddings.isfinite().all():
        raise ValueError("embeddings: has a NaN or an infinity")
    if targets.dtype != torch.int8 or targets.shape != (count, len(ids)):
        raise ValueError(
            f"targets: must be int8 of the shape {(count, len(ids))}, got {targets.dtype} of "
            f"{tuple(targets.shape)}"
        )
    columns = targets.T.contiguous()
    return KnownPhotos(l2_normalize(embeddings), dict(zip(ids, columns, strict=True)))
