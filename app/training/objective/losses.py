"""The tempered-sigmoid binary cross-entropy of the paper, with unknown pairs left out."""

from torch import Tensor
from torch.nn.functional import softplus

from app.core.model import scoring


def tempered_bce(
    cosines: Tensor,
    targets: Tensor,
    logit_scale: Tensor,
    positive_weights: Tensor,
    known_pairs: Tensor | None = None,
) -> Tensor:
    """Binary cross-entropy over the known image-label pairs (equations 1 and 2).

    With x = cos * exp(logit_scale), a pair costs -(p * y * log s(x) + (1 - y) * log(1 - s(x))),
    s being the sigmoid; its gradient by cos is exp(logit_scale) * (s(x) - y) where p is 1
    (equation 3). Computed in float32 through softplus, so that no logarithm sees a zero.

    Args:
        cosines: (B, L) similarities of images and label texts, in [-1, 1], any float dtype.
        targets: (B, L) presence in [0, 1] (a fraction is a soft target), or negative where unknown.
        logit_scale: scalar, ln(1 / temperature).
        positive_weights: (L,) weights p of the positive part, above 0.
        known_pairs: how many pairs the mean is over; None: those known here. With the number of a
            whole step, the losses of its parts add up to the step's.

    Returns:
        Scalar float32 mean over the known pairs; 0, still differentiable, where none is known.
    """
    logits = scoring.logits(cosines.float(), logit_scale)
    known = targets >= 0
    presence = targets.float().clamp(min=0.0)
    cost = positive_weights.float() * presence * softplus(-logits)
    cost = cost + (1.0 - presence) * softplus(logits)
    return (cost * known).sum() / (known.sum() if known_pairs is None else known_pairs).clamp(min=1)
