"""The tempered-sigmoid binary cross-entropy of the paper, and further terms of the loss."""

from typing import Literal

from torch import Tensor
from torch.nn.functional import softplus

from app.core.model import logits


def tempered_bce(
    cosines: Tensor,
    targets: Tensor,
    logit_scale: Tensor,
    positive_weights: Tensor,
    known_pairs: Tensor | None = None,
) -> Tensor:
    """Binary cross-entropy over the known image-label pairs (equations 1 and 2).

    With x = cos * exp(logit_scale) and the sigmoid s, the loss of a pair is
    -(p * y * log s(x) + (1 - y) * log(1 - s(x))). With p = 1, its derivative by cos is
    exp(logit_scale) * (s(x) - y) (equation 3). It is computed in float32 with softplus, which
    never takes the logarithm of zero.

    Args:
        cosines: (B, L) similarities of images and label texts, in [-1, 1], any float dtype.
        targets: (B, L) presence in [0, 1] (a fraction is a soft target), or negative if unknown.
        logit_scale: scalar, ln(1 / temperature).
        positive_weights: (L,) weights p of the positive part, above 0.
        known_pairs: the divisor of the mean; None: the number of known pairs given here. With the
            number of the whole step, the losses of its micro-batches sum to the loss of the step.

    Returns:
        Scalar float32 mean over the known pairs; 0 and differentiable if no pair is known.
    """
    logit = logits(cosines.float(), logit_scale)
    known = targets >= 0
    presence = targets.float().clamp(min=0.0)
    cost = positive_weights.float() * presence * softplus(-logit)
    cost = cost + (1.0 - presence) * softplus(logit)
    return (cost * known).sum() / (known.sum() if known_pairs is None else known_pairs).clamp(min=1)


def unknown_loss(
    cosines: Tensor,
    unknown: Tensor,
    logit_scale: Tensor,
    kind: Literal["negative", "em"],
    divisor: Tensor,
) -> Tensor:
    """Loss of pairs whose label is not known.

    `negative` assumes that the label is absent: -log(1 - p). `em` maximises the entropy of p:
    p log p + (1 - p) log(1 - p) (Zhou et al. 2022, Acknowledging the Unknown for Multi-label
    Learning with Single Positive Labels, without its pseudo-labels). Its derivative by the logit x
    is p (1 - p) x, which is small for uncertain and for confident pairs, so that they do not
    dominate the known ones.

    Args:
        cosines: (B, L) similarities of images and label texts, in [-1, 1], any float dtype.
        unknown: (B, L) bool, the pairs to count.
        logit_scale: scalar, ln(1 / temperature).
        kind: the loss.
        divisor: scalar, of the sum; that of the known pairs, as in the paper.

    Returns:
        Scalar float32; 0 and differentiable if no pair is counted. At least -ln 2 a pair for `em`.
    """
    logit = logits(cosines.float(), logit_scale)
    cost = softplus(logit)
    if kind == "em":
        cost = logit.sigmoid() * logit - cost
    return (cost * unknown).sum() / divisor


def l2_sp_penalty(weight: Tensor, start: Tensor) -> Tensor:
    """Squared distance of a weight from its start, as a share of the start's square.

    It is the penalty L2-SP (Li et al. 2018, Explicit Inductive Bias for Transfer Learning with
    Convolutional Networks): weights are pulled towards their start instead of towards 0. As the
    distance is relative, the penalty's weight does not depend on the size of the model.

    Args:
        weight: any shape, float32.
        start: its value at the start of training, not 0 everywhere.

    Returns:
        Scalar float32, ||weight - start||^2 / ||start||^2; 0 at the start.
    """
    return (weight - start).square().sum() / start.square().sum()


def hierarchy_penalty(label_logits: Tensor, children: Tensor, parents: Tensor) -> Tensor:
    """Squared amount by which labels are more probable than their parents.

    It is the hierarchical violation of HMCN (Wehrmann et al. 2018, Hierarchical Multi-Label
    Classification Networks): max(0, p_child - p_parent)^2.

    Args:
        label_logits: (B, L).
        children: (E,) int64, E at least 1, the column of a label for each of its parents.
        parents: (E,) int64, the column of the parent.

    Returns:
        Scalar float32 in [0, 1], the mean over images and edges.
    """
    p = label_logits.float().sigmoid()
    return (p[:, children] - p[:, parents]).relu().square().mean()
