"""The tempered-sigmoid binary cross-entropy of the paper, and further terms of the loss."""

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


def unknown_loss(cosines: Tensor, unknown: Tensor, logit_scale: Tensor, divisor: Tensor) -> Tensor:
    """Loss of pairs whose label is not known, which is assumed to be absent: -log(1 - p).

    Args:
        cosines: (B, L) similarities of images and label texts, in [-1, 1], any float dtype.
        unknown: (B, L) bool, the pairs to count.
        logit_scale: scalar, ln(1 / temperature).
        divisor: scalar, of the sum; that of the known pairs, as in the paper.

    Returns:
        Scalar float32; 0 and differentiable if no pair is counted.
    """
    cost = softplus(logits(cosines.float(), logit_scale))
    return (cost * unknown).sum() / divisor


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
