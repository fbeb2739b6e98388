"""The files of a checkpoint directory, and the key that binds a file to weights."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open

CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"
LABELS_FILE = "labels.yaml"
LABEL_EMBEDDINGS_FILE = "label_embeddings.safetensors"
ZERO_SHOT_FILE = "zero_shot_calibration.safetensors"
CLASS_EMBEDDINGS_FILE = "class_embeddings.safetensors"
KNOWN_PHOTOS_FILE = "known_photos.safetensors"
README_FILE = "README.md"
HASHED_FILES = (WEIGHTS_FILE, CONFIG_FILE, LABELS_FILE)


def towers_key(hashes: Mapping[str, str]) -> str:
    """Return a key of the weights and the configuration, from the hashes of the files."""
    sources = [hashes[WEIGHTS_FILE], hashes[CONFIG_FILE]]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


def key_of(path: Path) -> str | None:
    """Return the key that a safetensors file was written with."""
    with safe_open(path, framework="pt") as file:
        return (file.metadata() or {}).get("key")
