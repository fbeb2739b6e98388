"""Copies of the tiny checkpoint to damage, and the hand of one who covers it up."""

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
    """A copy of a checkpoint, to be changed freely."""
    return shutil.copytree(checkpoint, to / "copy")


@contextmanager
def edited_json(path: Path) -> Iterator[dict[str, Any]]:
    """A JSON file's content; what is changed in the block is written back."""
    content = json.loads(path.read_bytes())
    yield content
    path.write_text(json.dumps(content), encoding="utf-8")


def edit_tensors(path: Path, edit: Callable[[dict[str, Tensor]], object]) -> None:
    """Change a safetensors file's tensors; its metadata stays."""
    header = path.read_bytes()
    length = int.from_bytes(header[:8], "little")
    metadata = json.loads(header[8 : 8 + length]).get("__metadata__")
    tensors = {name: torch.clone(tensor) for name, tensor in load_file(path).items()}
    edit(tensors)
    save_file(tensors, path, metadata)


def rehash(directory: Path) -> None:
    """Make the card's hashes fit the files as they are, and nothing else of it."""
    with edited_json(directory / "mumic.json") as card:
        card["sha256"] = {name: file_hash(directory / name) for name in card["sha256"]}
