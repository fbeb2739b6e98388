"""Fits the `store` thresholds: a backfill drops most pairs at almost no loss of recall (section 7).

A quantile of a label's few positives gives no guarantee for unseen photos. So the labels share one
curve from logit to log odds, with an offset per label that is shrunk towards 0, and one cut at the
same log odds for all labels. At equal odds, dropping a pair costs the same recall in each label, so
no other cut drops more pairs at this recall.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from app.evaluation.metrics import sigmoid

Floats = NDArray[np.floating]
FOLDS = 5
OFFSET_SHRINKAGE = 1.0  # precision of the offsets' normal prior: labels differ by a few logits
SHARED_SHRINKAGE = 0.01  # keeps the curve finite if scores separate all pairs
STEPS = 200
BISECTIONS = 40


@dataclass(frozen=True, slots=True)
class LogOddsModel:
    """log odds of presence = slope * (logit - centre) + base + offset of the label.

    Attributes:
        centre: mean logit of the known pairs, which keeps base and slope independent.
        slope: above 0.
        base: intercept of all labels.
        offsets: (C,) offset of each label.
    """

    centre: float
    slope: float
    base: float
    offsets: NDArray[np.float64]

    def predict(self, logits: Floats) -> NDArray[np.float64]:
        """Return the (N, C) log odds of (N, C) logits."""
        centred = logits.astype(np.float64) - self.centre
        return self.slope * centred + self.base + self.offsets

    def logits_at(self, log_odds: float) -> NDArray[np.float64]:
        """Return the (C,) logits at which each label has these log odds."""
        return self.centre + (log_odds - self.base - self.offsets) / self.slope


def store_thresholds(
    targets: Floats,
    logits: Floats,
    fitted: NDArray[np.bool_],
    recall: float,
    confidence: float,
) -> NDArray[np.float64]:
    """Return thresholds at which all labels together keep a target recall on unseen photos.

    The cut is a quantile of the log odds of positives, predicted by curves that were fitted without
    their photos (cross-fitting). It misses as many positives as the one-sided Clopper-Pearson
    bound allows at the target recall and confidence, if pairs are independent.

    Args:
        targets: (N, C) presence, 1 or 0, or negative where unknown.
        logits: (N, C), finite.
        fitted: (C,) which labels have an offset of their own; at least one, each with a positive.
            The other labels get the threshold for offset 0; their misses count as well.
        recall: target recall of all known positives pooled, in (0, 1).
        confidence: in (0, 1).

    Returns:
        (C,) in [0, 1].
    """
    fold = np.random.default_rng(0).permutation(len(targets)) % FOLDS
    unseen = np.empty(targets.shape)
    for k in range(FOLDS):
        train, test = fold != k, fold == k
        unseen[test] = fit_log_odds(targets[train], logits[train], fitted).predict(logits[test])
    positives = np.sort(unseen[targets == 1])
    cut = positives[allowed_misses(len(positives), recall, confidence)]
    cut_logits = fit_log_odds(targets, logits, fitted).logits_at(cut)
    # In float32, as the probabilities that they are compared with.
    return sigmoid(cut_logits.astype(np.float32)).astype(np.float64)


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


def fit_log_odds(targets: Floats, logits: Floats, fitted: NDArray[np.bool_]) -> LogOddsModel:
    """Fit the curve to the known pairs of some labels by penalised likelihood (L-BFGS).

    Args:
        targets: (N, C) presence, 1 or 0, or negative where unknown.
        logits: (N, C), finite.
        fitted: (C,) the labels to fit; the offset of the others is 0.
    """
    photo, label = np.nonzero((targets >= 0) & fitted)
    known = logits[photo, label].astype(np.float64)
    centre = float(known.mean()) if len(known) else 0.0
    x = torch.from_numpy(known - centre)
    y = torch.from_numpy((targets[photo, label] == 1).astype(np.float64))
    column = torch.from_numpy(label)
    # log of the slope, the base, the offsets
    parameters = torch.zeros(2 + targets.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([parameters], max_iter=STEPS, line_search_fn="strong_wolfe")

    def cost() -> Tensor:
        optimizer.zero_grad()
        log_odds = parameters[0].exp() * x + parameters[1] + parameters[2:][column]
        total = binary_cross_entropy_with_logits(log_odds, y, reduction="sum")
        shared, own = parameters[:2].square().sum(), parameters[2:].square().sum()
        total = total + (OFFSET_SHRINKAGE * own + SHARED_SHRINKAGE * shared) / 2
        mean = total / max(len(y), 1)
        torch.autograd.backward(mean)
        return mean

    optimizer.step(cost)
    log_slope, base, *offsets = parameters.detach().tolist()
    return LogOddsModel(centre, math.exp(log_slope), base, np.array(offsets))
