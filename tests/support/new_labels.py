"""Checkpoints and photos for tests of labels that are added at run time."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from app.core.checkpoint import KnownPhotos, read_checkpoint, write_known_photos
from app.core.model import l2_normalize
from tests.support.photos import encoded
from tests.support.tiny import DIMENSION

KNOWN = 150


def write_known(checkpoint: Path, directory: Path) -> Path:
    """Write a copy of a tiny checkpoint with random known photos."""
    source = read_checkpoint(checkpoint)
    generator = torch.Generator().manual_seed(3)
    embeddings = l2_normalize(torch.randn(KNOWN, DIMENSION, generator=generator))
    targets = {id: torch.full((KNOWN,), -1, dtype=torch.int8) for id in source.labels.ids}
    write_known_photos(source, KnownPhotos(embeddings, targets), directory, {"photos": KNOWN})
    return directory


def coloured(colour: Sequence[int], seed: int = 0) -> bytes:
    """Return a PNG of one colour with a little noise, so that no two seeds are the same file."""
    noise = np.random.default_rng(seed).integers(0, 12, (64, 64, 3))
    pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
    return encoded(Image.fromarray(pixels), "PNG")
