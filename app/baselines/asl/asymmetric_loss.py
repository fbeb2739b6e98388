"""The asymmetric loss of Ridnik et al. 2021; unknown pairs are masked."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def asymmetric_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    gamma_negative: float = 4.0,
    gamma_positive: float = 0.0,
    clip: float = 0.05,
    known_pairs: Tensor | None = None,
) -> Tensor:
    """Binary cross-entropy that gives easy negatives a small weight.

    With p = sigmoid(logit) and p_m = max(p - clip, 0), the loss of a pair is
    -(y * (1 - p)^gamma_positive * log p + (1 - y) * p_m^gamma_negative * log(1 - p_m)).
    With both gammas and the clip at 0 it is binary cross-entropy. The original sums over pairs,
    this takes the mean over known pairs; AdamW's steps are the same.

    Args:
        logits: (B, C), any float dtype.
        targets: (B, C) presence, 1 or 0, or negative if unknown.
        gamma_negative: focusing exponent of negatives, at least 0; higher values reduce the
            weight of easy negatives.
        gamma_positive: the same of positives.
        clip: probability margin in [0, 1) below which the loss of a negative is 0.
        known_pairs: the divisor of the mean; None: the number of known pairs given here.

    Returns:
        Scalar float32; 0 and differentiable if no pair is known.
    """
    values, known = logits.float(), targets >= 0
    presence = targets.float().clamp(min=0)
    p = values.sigmoid()
    positive = (1 - p).pow(gamma_positive) * -logsigmoid(values)
    # Without clipping, logsigmoid computes log(1 - p), which stays finite for p = 1.
    shifted = (p - clip).clamp(min=0)
    log_rest = torch.log1p(-shifted) if clip else logsigmoid(-values)
    negative = shifted.pow(gamma_negative) * -log_rest
    cost = presence * positive + (1 - presence) * negative
    return (cost * known).sum() / (known.sum() if known_pairs is None else known_pairs).clamp(min=1)
