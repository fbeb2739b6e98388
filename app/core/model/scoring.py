"""Scores of embeddings: the scoring methods of the paper as pure functions.

All functions work on float32 and on whole batches: B images, C label texts, D embedding dimensions.

Each method returns logits, the log odds of its probability, which is their sigmoid. Order, metrics
and ranks use the logits, because a float32 sigmoid is exactly 1 from a logit of about 16.6, and
exactly 0 below about -104. Probabilities are computed where they are shown or compared with a
threshold.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Scoring = Literal["sigmoid", "softmax", "pair", "calibrated"]


@dataclass(frozen=True, slots=True, eq=False)
class ScoredBatch:
    """Embeddings and label scores of a batch of images.

    Attributes:
        embeddings: (B, D) float32 unit rows, on the CPU.
        logits: (B, C) float32, on the CPU, columns in the order of the label set.
    """

    embeddings: Tensor
    logits: Tensor


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

    Their sigmoid is an independent probability for each pair of image and label text (equation 2).

    Args:
        cosine: (B, C) float32 in [-1, 1].
        logit_scale: ln(1 / temperature), the learned scalar.

    Returns:
        (B, C) float32.
    """
    return cosine * torch.as_tensor(logit_scale, device=cosine.device).float().exp()


def calibrated_logits(logits: Tensor, scales: Tensor, offsets: Tensor) -> Tensor:
    """Return the log odds of calibrated probabilities (Platt 1999): scale * logit + offset.

    Args:
        logits: (B, C) float32.
        scales: (C,) float32, above 0; 1 changes nothing.
        offsets: (C,) float32; 0 changes nothing.

    Returns:
        (B, C) float32.
    """
    return logits * scales + offsets


def pair_logits(cosine: Tensor, background_cosine: Tensor, logit_scale: Tensor | float) -> Tensor:
    """Compute the log odds of each text against a neutral background text (section 4.2).

    The softmax over two logits is the sigmoid of their difference.

    Args:
        cosine: (B, C) float32, of the image and each label's prompt.
        background_cosine: (B, 1) float32, of the image and the text `a photo`.
        logit_scale: ln(1 / temperature).

    Returns:
        (B, C) float32.
    """
    return logits(cosine - background_cosine, logit_scale)


def softmax_logits(cosine: Tensor, logit_scale: Tensor | float) -> Tensor:
    """Compute the log odds of exactly one of the texts, as CLIP scores them (section 5.5).

    The sigmoid of the result is the softmax of the logits: log odds of a text are its logit minus
    the logsumexp of all others. They stay apart where the softmax rounds to 0 or 1.

    Args:
        cosine: (B, C) float32 in [-1, 1].
        logit_scale: ln(1 / temperature).

    Returns:
        (B, C) float32, finite; the sigmoids of a row sum to 1.
    """
    scores = logits(cosine, logit_scale)
    best = scores.argmax(dim=-1, keepdim=True)
    # log(1 - p) is accurate for every p but the largest, whose other texts are summed themselves.
    others = scores.logsumexp(dim=-1, keepdim=True) + torch.log1p(-scores.softmax(dim=-1))
    of_best = scores.scatter(-1, best, -torch.inf).logsumexp(dim=-1, keepdim=True)
    log_odds = scores - others.scatter(-1, best, of_best)
    return log_odds.clamp(max=torch.finfo(log_odds.dtype).max)  # a single text has no others


def rank_texts(scores: Tensor) -> list[tuple[int, float]]:
    """Rank the texts of one image by their logits.

    Args:
        scores: (N,) float32 logits of any scoring method.

    Returns:
        The column and the probability of each text, best first; equal logits keep their order.
    """
    best, columns = scores.sort(descending=True, stable=True)
    return list(zip(columns.tolist(), best.sigmoid().tolist(), strict=True))
