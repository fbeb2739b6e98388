"""From which probability on a backfill keeps it: drop much, lose next to nothing (section 7).

A threshold at a quantile of a label's few positives promises nothing for photos that were not
seen, and the labels together lose what each of them loses. So the labels share what they know: one
curve from score to odds, with an offset for each label that is shrunk towards none, and one cut at
the same odds for all. At equal odds a pair that is dropped costs each label the same recall, so no
other cut drops more for the recall that is kept.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

Floats = NDArray[np.floating]
EDGE = 1e-7  # scores are kept so far from 0 and 1, where float32 has no finer steps
FOLDS = 5
SHRINKAGE = 1.0  # precision of the offsets' normal prior: a label differs by a few units of logit
SHRINKAGE_OF_SHARED = 0.01  # keeps the curve finite where scores separate all pairs
STEPS = 200
BISECTIONS = 40


@dataclass(frozen=True, slots=True)
class Odds:
    """log odds of presence = slope * logit(score) + base + offset of the label.

    Attributes:
        slope: above 0.
        base: what all labels share.
        offsets: (C,) what each adds.
    """

    slope: float
    base: float
    offsets: NDArray[np.float64]

    def of(self, scores: Floats) -> NDArray[np.float64]:
        """(N, C) log odds of (N, C) scores."""
        return self.slope * _logit(scores) + self.base + self.offsets


def store_thresholds(
    targets: Floats,
    scores: Floats,
    fitted: NDArray[np.bool_],
    recall: float,
    confidence: float,
) -> NDArray[np.float64]:
    """The thresholds at which all labels together keep a recall on photos that were not seen.

    The cut is made at the odds that positives get from a curve fitted without their photos
    (cross-fitting). It loses as many of them as leave the true recall at the wanted one or above
    with the wanted confidence, were pairs drawn independently (Clopper and Pearson's bound).

    Args:
        targets: (N, C) presence, 1 or 0, or negative where unknown.
        scores: (N, C) in [0, 1].
        fitted: (C,) which labels have an offset of their own, at least one; each has a positive.
            The others get the threshold of a label with no offset. What they lose is counted.
        recall: wanted of all known positives pooled, in (0, 1).
        confidence: in (0, 1).

    Returns:
        (C,) in [0, 1].
    """
    fold = np.random.default_rng(0).permutation(len(targets)) % FOLDS
    unseen = np.empty(targets.shape)
    for k in range(FOLDS):
        rest, held = fold != k, fold == k
        unseen[held] = fit_odds(targets[rest], scores[rest], fitted).of(scores[held])
    positives = np.sort(unseen[targets == 1])
    cut = positives[may_be_lost(len(positives), recall, confidence)]
    odds = fit_odds(targets, scores, fitted)
    logits = (cut - odds.base - odds.offsets) / odds.slope
    thresholds: NDArray[np.float64] = torch.from_numpy(logits).sigmoid().numpy()
    # The curve knows no order of the scores below its edge: a cut there lets all of them pass.
    return np.where(thresholds > 2 * EDGE, thresholds, 0.0)


def may_be_lost(positives: int, recall: float, confidence: float) -> int:
    """How many of n positives may be lost, for the true recall to be the wanted one or above.

    Args:
        positives: n, at least one.
        recall: in (0, 1).
        confidence: in (0, 1), that the true recall is not below.

    Returns:
        The largest k with P(Binomial(n, 1 - recall) <= k) <= 1 - confidence; 0 where even that is
        above: so few positives cannot show it.
    """
    lost = torch.arange(positives)
    return max(int((_at_most(lost, positives, recall) <= 1 - confidence).sum()) - 1, 0)


def recall_bound(kept: int, positives: int, confidence: float) -> float:
    """The recall that is surpassed with a confidence, when so many of n positives were kept.

    Args:
        kept: 0 to n.
        positives: n, at least one.
        confidence: in (0, 1).

    Returns:
        Clopper and Pearson's one-sided lower bound, in [0, 1].
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


def fit_odds(targets: Floats, scores: Floats, fitted: NDArray[np.bool_]) -> Odds:
    """Fit the curve to the known pairs of some labels by penalised likelihood (L-BFGS).

    Args:
        targets: (N, C) presence, 1 or 0, or negative where unknown.
        scores: (N, C) in [0, 1].
        fitted: (C,) which labels; the offset of the others is 0.
    """
    photo, label = np.nonzero((targets >= 0) & fitted)
    x = torch.from_numpy(_logit(scores[photo, label]))
    y = torch.from_numpy((targets[photo, label] == 1).astype(np.float64))
    column = torch.from_numpy(label)
    # log of the slope, the base, the offsets
    parameters = torch.zeros(2 + targets.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([parameters], max_iter=STEPS, line_search_fn="strong_wolfe")

    def cost() -> Tensor:
        optimizer.zero_grad()
        logits = parameters[0].exp() * x + parameters[1] + parameters[2:][column]
        total = binary_cross_entropy_with_logits(logits, y, reduction="sum")
        shared, own = parameters[:2].square().sum(), parameters[2:].square().sum()
        total = total + (SHRINKAGE * own + SHRINKAGE_OF_SHARED * shared) / 2
        mean = total / max(len(y), 1)
        torch.autograd.backward(mean)
        return mean

    optimizer.step(cost)
    log_slope, base, *offsets = parameters.detach().tolist()
    return Odds(math.exp(log_slope), base, np.array(offsets))


def _logit(scores: Floats) -> NDArray[np.float64]:
    inside = np.clip(scores.astype(np.float64), EDGE, 1 - EDGE)
    return np.log(inside) - np.log1p(-inside)
