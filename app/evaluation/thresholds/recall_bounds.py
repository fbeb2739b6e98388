"""Exact binomial bounds of recall: what n positives say about the recall on unseen photos.

Of n positives that were drawn independently, the number below a fixed threshold is binomial: each
is missed with probability 1 - recall. A threshold that is the (k + 1)-th smallest score of n
positives has a recall of at least r on new positives of the same distribution with probability
1 - P(Binomial(n, 1 - r) <= k), for any continuous distribution of scores. Equal scores, and a lower
threshold, only raise that probability. This is the one-sided tolerance limit of Wilks (1941), and
what Vovk (2012) shows for conformal prediction, conditional on the calibration photos.
"""

import math

import torch
from torch import Tensor

BISECTIONS = 40


def allowed_misses(positives: int, recall: float, confidence: float) -> int:
    """Return how many of n positives may be missed at a target recall and confidence.

    Args:
        positives: n, at least one.
        recall: target recall, in (0, 1).
        confidence: confidence that the true recall is at least the target, in (0, 1).

    Returns:
        The largest k with P(Binomial(n, 1 - recall) <= k) <= 1 - confidence; 0 if there is none,
        because n is too small to prove the recall.
    """
    lost = torch.arange(positives)
    return max(int((_at_most(lost, positives, recall) <= 1 - confidence).sum()) - 1, 0)


def least_positives(recall: float, confidence: float) -> int:
    """Return the least n that can prove a recall: the smallest n with recall^n <= 1 - confidence.

    Args:
        recall: in (0, 1).
        confidence: in (0, 1).
    """
    return math.ceil(math.log1p(-confidence) / math.log(recall) - 1e-9)  # 1e-9: rounding


def recall_lower_bound(kept: int, positives: int, confidence: float) -> float:
    """Return the one-sided Clopper-Pearson lower bound of recall, in [0, 1].

    Args:
        kept: number of kept positives, 0 to n.
        positives: n, at least one.
        confidence: in (0, 1).
    """
    lost = torch.tensor([positives - kept])
    low, high = 0.0, kept / positives
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        unlikely = float(_at_most(lost, positives, middle)) <= 1 - confidence
        low, high = (middle, high) if unlikely else (low, middle)
    return low


def _at_most(lost: Tensor, positives: int, recall: float) -> Tensor:
    """P(Binomial(n, 1 - recall) <= k) for each k."""
    k = torch.arange(positives + 1, dtype=torch.float64)
    rest = positives - k
    choices = torch.lgamma(k[-1] + 1) - torch.lgamma(k + 1) - torch.lgamma(rest + 1)
    chance = (
        choices
        + torch.xlogy(k, torch.tensor(1 - recall, dtype=k.dtype))
        + torch.xlogy(rest, torch.tensor(recall, dtype=k.dtype))
    )
    return chance.exp().cumsum(0)[lost]
