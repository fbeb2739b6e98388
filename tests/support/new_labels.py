"""Checkpoints and photos for tests of labels that are added at run time."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from app.core.checkpoint import KnownPhotos, write_known_photos
from app.core.classifier import Classifier
from app.core.images import ImageLimits, load_pixels, stack
from tests.support.photos import encoded

KNOWN = 150


def write_known(checkpoint: Path, directory: Path) -> Path:
    """Write a copy of a tiny checkpoint with known photos of random colours, hardly any red."""
    classifier = Classifier.load(checkpoint, device="cpu", precision="fp32")
    colours = np.random.default_rng(3).integers((0, 60, 60), (160, 255, 255), (KNOWN, 3))
    photos = [
        load_pixels(coloured(colour, seed), ImageLimits(), classifier.preprocess).values
        for seed, colour in enumerate(colours, 100)
    ]
    embeddings = classifier.embed_images(stack(photos))
    targets = {id: torch.full((KNOWN,), -1, dtype=torch.int8) for id in classifier.labels.ids}
    known = KnownPhotos(embeddings, targets)
    write_known_photos(classifier.checkpoint, known, directory, {"photos": KNOWN})
    return directory


def coloured(colour: Sequence[int], seed: int = 0) -> bytes:
    """Return a PNG of one colour with a little noise, so that no two seeds are the same file."""
    noise = np.random.default_rng(seed).integers(0, 4, (64, 64, 3))
    pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
    return encoded(Image.fromarray(pixels), "PNG")
