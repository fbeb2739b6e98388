"""Copies of the tiny checkpoint, edits of their files, and updates of their hashes."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from app.core.checkpoint import file_hash

FILES = ["open_clip_config.json", "open_clip_model.safetensors", "labels.yaml", "mumic.json"]


def copied(checkpoint: Path, to: Path) -> Path:
    """Copy a checkpoint, so that a test can change it."""
    return shutil.copytree(checkpoint, to / "copy")


@contextmanager
def edited_json(path: Path) -> Iterator[dict[str, Any]]:
    """Yield a JSON file's content and write it back after the context."""
    content = json.loads(path.read_bytes())
    yield content
    path.write_text(json.dumps(content), encoding="utf-8")


def edit_tensors(path: Path, edit: Callable[[dict[str, Tensor]], object]) -> None:
    """Change a safetensors file's tensors and keep its metadata."""
    header = path.read_bytes()
    length = int.from_bytes(header[:8], "little")
    metadata = json.loads(header[8 : 8 + length]).get("__metadata__")
    tensors = {name: torch.clone(tensor) for name, tensor in load_file(path).items()}
    edit(tensors)
    save_file(tensors, path, metadata)


def rehash(directory: Path) -> None:
    """Update the hashes in the card to the current files; nothing else changes."""
    with edited_json(directory / "mumic.json") as card:
        card["sha256"] = {name: file_hash(directory / name) for name in card["sha256"]}
