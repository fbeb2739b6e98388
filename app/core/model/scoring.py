"""Probabilities from embeddings: the scores of the paper as pure functions.

All functions work on float32 and on whole batches: B images, C label texts, D embedding dimensions.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Scoring = Literal["sigmoid", "softmax", "pair"]


@dataclass(frozen=True, slots=True, eq=False)
class ScoredBatch:
    """Embeddings and label probabilities of a batch of images.

    Attributes:
        embeddings: (B, D) float32 unit rows, on the CPU.
        probabilities: (B, C) float32 in [0, 1], on the CPU, columns in the order of the label set.
    """

    embeddings: Tensor
    probabilities: Tensor


def l2_normalize(features: Tensor) -> Tensor:
    """Scale each row to unit length.

    Args:
        features: (B, D) of any floating dtype.

    Returns:
        (B, D) float32. A row of zeros stays unchanged.
    """
    return nn.functional.normalize(features.float(), dim=-1)


def cosines(image_embeddings: Tensor, text_embeddings: Tensor) -> Tensor:
    """Compute the cosine similarities of unit rows.

    Args:
        image_embeddings: (B, D) float32 unit rows.
        text_embeddings: (C, D) float32 unit rows.

    Returns:
        (B, C) float32 in [-1, 1] up to rounding.
    """
    return image_embeddings @ text_embeddings.T


def logits(cosine: Tensor, logit_scale: Tensor | float) -> Tensor:
    """Divide cosines by the temperature: `cos * exp(logit_scale)` (listing 1, line 19).

    Args:
        cosine: (B, C) float32 in [-1, 1].
        logit_scale: ln(1 / temperature), the learned scalar.

    Returns:
        (B, C) float32.
    """
    return cosine * torch.as_tensor(logit_scale, device=cosine.device).float().exp()


def tempered_sigmoid(cosine: Tensor, logit_scale: Tensor | float) -> Tensor:
    """Compute an independent probability for each pair of image and label text (equation 2).

    Args:
        cosine: (B, C) float32 in [-1, 1].
        logit_scale: ln(1 / temperature).

    Returns:
        (B, C) float32 in [0, 1].
    """
    return torch.sigmoid(logits(cosine, logit_scale))


def softmax(cosine: Tensor, logit_scale: Tensor | float) -> Tensor:
    """Compute the probabilities of exactly one of the texts, as CLIP does (section 5.5).

    Args:
        cosine: (B, C) float32 in [-1, 1].
        logit_scale: ln(1 / temperature).

    Returns:
        (B, C) float32; rows sum to 1.
    """
    return torch.softmax(logits(cosine, logit_scale), dim=-1)


def pair_softmax(cosine: Tensor, background_cosine: Tensor, logit_scale: Tensor | float) -> Tensor:
    """Compute the softmax of each text and a neutral background text (section 4.2).

    The softmax over two logits is the sigmoid of their difference.

    Args:
        cosine: (B, C) float32, of the image and each label's prompt.
        background_cosine: (B, 1) float32, of the image and the text `a photo`.
        logit_scale: ln(1 / temperature).

    Returns:
        (B, C) float32 in [0, 1].
    """
    return torch.sigmoid(logits(cosine - background_cosine, logit_scale))
