"""Calibrated scores of arbitrary texts, against statistics over background embeddings."""

import torch
from torch import Tensor

from app.core.model import (
    Moments,
    ZeroShotCalibration,
    calibrated_zero_shot_logits,
    cosines,
    l2_normalize,
    moments,
    normalized_cosines,
)

GENERATOR = torch.Generator().manual_seed(0)
PHOTOS = l2_normalize(torch.randn(50, 8, generator=GENERATOR) + 1)
BACKGROUND = l2_normalize(torch.randn(40, 8, generator=GENERATOR) - 1)
TEXTS = l2_normalize(torch.randn(5, 8, generator=GENERATOR))


def z_scores(cosine: Tensor, background: Tensor) -> Tensor:
    """Standardise each row of cosines by the row of cosines with the background."""
    return (cosine - background.mean(dim=1, keepdim=True)) / background.std(dim=1, keepdim=True)


def test_normalized_cosines_average_z_scores_of_text_and_photo() -> None:
    cosine = cosines(PHOTOS, TEXTS)
    by_text = z_scores(cosine.T, cosine.T).T
    by_photo = z_scores(cosine, cosines(PHOTOS, BACKGROUND))
    found = normalized_cosines(PHOTOS, TEXTS, moments(PHOTOS), moments(BACKGROUND))
    torch.testing.assert_close(found, (by_text + by_photo) / 2, atol=1e-4, rtol=0)


def test_calibrated_logits_are_affine_in_normalized_cosines() -> None:
    calibration = ZeroShotCalibration(moments(PHOTOS), moments(BACKGROUND), 2.5, -3.0)
    found = calibrated_zero_shot_logits(PHOTOS, TEXTS, calibration)
    normalized = normalized_cosines(PHOTOS, TEXTS, moments(PHOTOS), moments(BACKGROUND))
    torch.testing.assert_close(found, 2.5 * normalized - 3)


def test_score_does_not_depend_on_other_texts_and_photos() -> None:
    calibration = ZeroShotCalibration(moments(PHOTOS), moments(BACKGROUND), 1.0, 0.0)
    together = calibrated_zero_shot_logits(PHOTOS, TEXTS, calibration)
    alone = calibrated_zero_shot_logits(PHOTOS[7:8], TEXTS[2:3], calibration)
    torch.testing.assert_close(together[7:8, 2:3], alone)


def test_text_without_variance_gets_finite_scores() -> None:
    still = torch.eye(8)
    still[0, 0] = -1e-9  # a variance of 0 may be rounded below it
    photos = Moments(torch.zeros(8), still)
    found = normalized_cosines(PHOTOS[:1], torch.eye(8)[:1], photos, moments(BACKGROUND))
    assert found.isfinite().all()
