"""Fits the calibration of zero-shot scores to known pairs of photos and texts."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from app.core.model import (
    Moments,
    ZeroShotCalibration,
    calibrated_zero_shot_logits,
    moments,
    normalized_cosines,
)
from app.errors import DataError

FOLDS = 5


@dataclass(frozen=True, slots=True)
class ZeroShotMeasure:
    """Zero-shot scores at a confidence of 0.5, as means over texts.

    Attributes:
        recall: share of the photos that a text fits with a confidence of at least 0.5.
        specificity: share of the photos that a text does not fit with a lower confidence.
    """

    recall: float
    specificity: float


def fit_zero_shot(
    image_embeddings: Tensor,
    text_embeddings: Tensor,
    targets: Tensor,
    background: Moments,
    *,
    prior: float,
) -> ZeroShotCalibration:
    """Fit the moments of the photos and, by logistic regression, the scale and the offset.

    Each text counts the same, with the photos that it fits as much as the others together. So the
    regression gives the log odds of a text that fits every second photo; the prior shifts them.

    Args:
        image_embeddings: (N, D) float32 unit rows, at least two.
        text_embeddings: (L, D) float32 unit rows.
        targets: (N, L); 1 the text fits, 0 it does not, negative unknown. Each text has both.
        background: of background texts.
        prior: share of photos that a text is assumed to fit, between 0 and 1.

    Raises:
        DataError: photos that fit a text do not have higher cosines with it than others.
    """
    photos = moments(image_embeddings)
    normalized = normalized_cosines(image_embeddings, text_embeddings, photos, background)
    fits, known = targets == 1, targets >= 0
    weights = torch.where(fits, 1 / fits.sum(dim=0), 1 / (known & ~fits).sum(dim=0))
    # Without a penalty: the pairs are far more than the two parameters.
    regression = LogisticRegression(C=np.inf).fit(
        normalized[known][:, None].numpy(), fits[known].numpy(), weights[known].numpy()
    )
    scale = float(regression.coef_[0, 0])
    if scale <= 0:
        raise DataError(
            "photos that a text fits do not have higher cosines with it than other photos, so no "
            "calibration exists: train the checkpoint first, or check the manifest"
        )
    offset = float(regression.intercept_[0]) + log_odds(prior)
    return ZeroShotCalibration(photos, background, scale, offset)


def left_out_logits(
    image_embeddings: Tensor,
    text_embeddings: Tensor,
    targets: Tensor,
    background: Moments,
    *,
    prior: float,
) -> Tensor:
    """Score each text with a calibration that was fitted without it.

    Args:
        image_embeddings: (N, D) float32 unit rows, at least two.
        text_embeddings: (L, D) float32 unit rows, at least two.
        targets: (N, L) as for `fit_zero_shot`.
        background: of background texts.
        prior: as for `fit_zero_shot`.

    Returns:
        (N, L) float32 calibrated log odds.

    Raises:
        DataError: as for `fit_zero_shot`.
    """
    logits = torch.empty(targets.shape)
    count = len(text_embeddings)
    fold_of = torch.arange(count) % FOLDS
    for fold in range(min(FOLDS, count)):
        out = fold_of == fold
        calibration = fit_zero_shot(
            image_embeddings, text_embeddings[~out], targets[:, ~out], background, prior=prior
        )
        logits[:, out] = calibrated_zero_shot_logits(
            image_embeddings, text_embeddings[out], calibration
        )
    return logits


def measure_zero_shot(logits: Tensor, targets: Tensor) -> ZeroShotMeasure:
    """Measure zero-shot scores at a confidence of 0.5.

    Args:
        logits: (N, L) float32 log odds.
        targets: (N, L) as for `fit_zero_shot`.
    """
    high, fits, others = logits >= 0, targets == 1, targets == 0
    recall = (high & fits).sum(dim=0) / fits.sum(dim=0)
    specificity = (~high & others).sum(dim=0) / others.sum(dim=0)
    return ZeroShotMeasure(recall.mean().item(), specificity.mean().item())


def fittable_texts(targets: Tensor, least: int) -> Tensor:
    """Return the columns of (N, L) targets with enough known photos, both fitting and not."""
    fewer = torch.minimum((targets == 1).sum(dim=0), (targets == 0).sum(dim=0))
    return torch.nonzero(fewer >= least)[:, 0]


def log_odds(probability: float) -> float:
    """Return ln(p / (1 - p))."""
    return math.log(probability / (1 - probability))
