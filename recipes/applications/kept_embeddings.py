"""Embeds photos of a recipe once, and keeps their embeddings in a file."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from app.core.classifier import Classifier
from app.core.images import ImageLimits, load_pixels, stack
from app.dataset.embeddings import has_key, read_embeddings, write_embeddings

BATCH_SIZE = 16


def embed(
    classifier: Classifier, photos: Path, names: Sequence[str], file: Path
) -> dict[str, Tensor]:
    """Return the embedding of each photo, from the file if it has those of this checkpoint."""
    key = classifier.checkpoint.card.sha256["open_clip_model.safetensors"]
    known: dict[str, Tensor] = {}
    if has_key(file, key):
        known = dict(zip(*read_embeddings(file), strict=True))
    missing = [name for name in names if name not in known]
    for start in range(0, len(missing), BATCH_SIZE):
        batch = missing[start : start + BATCH_SIZE]
        pixels = stack(
            [
                load_pixels(
                    (photos / name).read_bytes(), ImageLimits(), classifier.preprocess
                ).values
                for name in batch
            ]
        )
        known |= zip(batch, classifier.embed_images(pixels), strict=True)
    if missing:
        write_embeddings(file, list(known), torch.stack(list(known.values())), key=key)
    return known
