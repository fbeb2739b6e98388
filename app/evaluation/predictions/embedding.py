"""Photos of a dataset and the texts that they are held against, as embeddings."""

from collections.abc import Sequence
from pathlib import Path

import torch
from rich.progress import Progress
from torch import Tensor

from app.core.images import Preprocess, normalize
from app.core.model import MumicModel
from app.dataset.photos import pixel_batches

TEXTS_AT_ONCE = 256


@torch.no_grad()
def embed_photos(
    model: MumicModel,
    preprocess: Preprocess,
    paths: Sequence[Path],
    *,
    workers: int = 0,
    progress: Progress | None = None,
) -> Tensor:
    """Embed photos on the path that serving takes.

    Args:
        model: the towers; its mode is left as evaluation.
        preprocess: the checkpoint's.
        paths: N files, at least one.
        workers: processes that load them.
        progress: where the time left is shown.

    Returns:
        (N, D) float32 unit rows, where the model is.

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
    """Embed token ids (N, context), a few hundred at a time, as (N, D) float32 unit rows."""
    return torch.cat([model.encode_text(part) for part in torch.split(tokens, TEXTS_AT_ONCE)])
