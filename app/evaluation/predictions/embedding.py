"""Embeds photos of a dataset and label texts."""

from collections.abc import Sequence
from pathlib import Path

import torch
from rich.progress import Progress
from torch import Tensor

from app.core.images import Preprocess, normalize
from app.core.model import MumicModel
from app.dataset.photos import pixel_batches

TEXT_BATCH_SIZE = 256


@torch.no_grad()
def embed_photos(
    model: MumicModel,
    preprocess: Preprocess,
    paths: Sequence[Path],
    *,
    workers: int = 0,
    progress: Progress | None = None,
) -> Tensor:
    """Embed photos by the same code path as serving.

    Args:
        model: the towers; the model is left in evaluation mode.
        preprocess: the checkpoint's.
        paths: N files, at least one.
        workers: processes that load photos.
        progress: shows the time left.

    Returns:
        (N, D) float32 unit rows, on the model's device.

    Raises:
        DataError: a photo cannot be used.
    """
    model.eval()
    rows = [
        model.encode_image(normalize(pixels.to(model.device), preprocess, model.dtype))
        for pixels in pixel_batches(paths, preprocess, workers=workers, progress=progress)
    ]
    return torch.cat(rows)


@torch.no_grad()
def embed_texts(model: MumicModel, tokens: Tensor) -> Tensor:
    """Embed token ids (N, context) in batches, as (N, D) float32 unit rows."""
    return torch.cat([model.encode_text(batch) for batch in torch.split(tokens, TEXT_BATCH_SIZE)])
