"""Scores of one checkpoint by several methods: three that the paper compares, and `calibrated`.

In sections 4.2 and 5.5 of the paper, `pair` is the original CLIP as a multi-label classifier: each
label's prompt against a neutral text. `softmax` is CLIP as it was trained: exactly one of the
labels. `sigmoid` is MuMIC's own, here without the calibration of labels.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from rich.progress import Progress
from torch import Tensor

from app.core.classifier import Classifier
from app.core.model import Scoring
from app.dataset.photos import pixel_batches


def checkpoint_scores(
    classifier: Classifier,
    texts: Sequence[str],
    paths: Sequence[Path],
    methods: Iterable[Scoring],
    *,
    progress: Progress,
    workers: int = 0,
) -> dict[Scoring, Tensor]:
    """Score photos against label texts by several methods; each photo is embedded once.

    Args:
        classifier: the checkpoint.
        texts: C rendered prompts. With `softmax` they compete with one another.
        paths: n photos, at least one.
        methods: the scoring methods.
        progress: shows the time left.
        workers: processes that load photos.

    Returns:
        Each method's (n, C) float32 logits, on the CPU; their sigmoids are its probabilities.

    Raises:
        DataError: a photo cannot be used.
        OptionError: `calibrated`, and the checkpoint has no calibration of zero-shot scores.
        TextError: a text is longer than the checkpoint's context.
    """
    text_embeddings = classifier.embed_texts(texts)
    batches = pixel_batches(
        paths,
        classifier.preprocess,
        workers=workers,
        progress=progress,
        description=classifier.checkpoint.card.name,
    )
    image_embeddings = torch.cat([classifier.embed_images(pixels) for pixels in batches])
    return {
        method: classifier.zero_shot(image_embeddings, text_embeddings, method)
        for method in methods
    }
