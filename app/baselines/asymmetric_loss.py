"""The asymmetric loss of Ridnik et al. 2021, with unknown pairs left out."""

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
    """Binary cross-entropy that lets easy negatives go.

    With p = sigmoid(logit) and p_m = max(p - clip, 0), a pair costs
    -(y * (1 - p)^gamma_positive * log p + (1 - y) * p_m^gamma_negative * log(1 - p_m)).
    With both gammas and the clip at 0 it is binary cross-entropy. The original sums where this
    takes a mean over known pairs; AdamW's steps are the same.

    Args:
        logits: (B, C), any float dtype.
        targets: (B, C) presence, 1 or 0, or negative where unknown.
        gamma_negative: how much easy negatives are played down, at least 0.
        gamma_positive: how much easy positives are.
        clip: probability margin in [0, 1) under which a negative costs nothing.
        known_pairs: how many pairs the mean is over; None: those known here.

    Returns:
        Scalar float32; 0, still differentiable, where no pair is known.
    """
    values, known = logits.float(), targets >= 0
    presence = targets.float().clamp(min=0)
    p = values.sigmoid()
    positive = (1 - p).pow(gamma_positive) * -logsigmoid(values)
    # log(1 - p) by logsigmoid, which no probability of 1 makes infinite, wherever nothing is cut.
    shifted = (p - clip).clamp(min=0)
    log_rest = torch.log1p(-shifted) if clip else logsigmoid(-values)
    negative = shifted.pow(gamma_negative) * -log_rest
    cost = presence * positive + (1 - presence) * negative
    return (cost * known).sum() / (known.sum() if known_pairs is None else known_pairs).clamp(min=1)
