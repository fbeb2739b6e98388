"""Calibration of labels: what is fitted to many, few and no photos."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import log_loss as sklearn_log_loss

from app.evaluation.label_calibration import fit_calibrations, summarise_calibrations
from app.evaluation.metrics import average_precision, log_loss, reliability_diagram, sigmoid

Floats = NDArray[np.float64]


def photos_of(scales: Floats, offsets: Floats, photos: int, seed: int = 0) -> tuple[Floats, Floats]:
    """Draw logits, and targets whose log odds are scale * logit + offset."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(-1, 3, (photos, len(scales)))
    targets = (draw.random(logits.shape) < sigmoid(scales * logits + offsets)).astype(np.float64)
    return targets, logits


def test_calibration_of_many_photos_is_recovered() -> None:
    scales, offsets = np.array([0.4, 0.8, 1.6]), np.array([-1.0, 0.5, 1.0])
    fitted = fit_calibrations(*photos_of(scales, offsets, 20_000))
    assert fitted.is_own.all()
    assert [each.scale for each in fitted.calibrations] == pytest.approx(scales, rel=0.1)
    assert [each.offset for each in fitted.calibrations] == pytest.approx(offsets, abs=0.15)


def test_label_with_few_photos_is_shrunk_to_pooled() -> None:
    """The same photos of a label, twenty times, move it further from the other labels."""
    targets, logits = photos_of(np.full(4, 0.5), np.array([0.0, 0.0, 0.0, 2.0]), 4000)
    targets[60:, 3] = -1.0
    copies = np.full((60 * 19, 4), -1.0)
    copies[:, 3] = np.tile(targets[:60, 3], 19)
    few = fit_calibrations(targets, logits, min_positives=5)
    many = fit_calibrations(
        np.vstack([targets, copies]),
        np.vstack([logits, np.tile(logits[:60], (19, 1))]),
        min_positives=5,
    )
    assert few.is_own.all()
    assert few.calibrations[0].offset == pytest.approx(0.0, abs=0.2)
    assert 0.5 < few.calibrations[3].offset < many.calibrations[3].offset - 0.1


def test_label_without_enough_photos_gets_pooled_calibration() -> None:
    targets, logits = photos_of(np.full(5, 0.5), np.full(5, -1.0), 1000)
    targets[:, 1] = -1.0  # nothing known
    targets[targets[:, 2] == 0, 2] = -1.0  # positives alone
    positives = np.flatnonzero(targets[:, 3] == 1)
    targets[positives[9:], 3] = -1.0
    fitted = fit_calibrations(targets, logits, min_positives=10)
    assert fitted.is_own.tolist() == [True, False, False, False, True]
    pooled = fitted.calibrations[1]
    assert fitted.calibrations[2] == fitted.calibrations[3] == pooled
    assert pooled.scale == pytest.approx(0.5, rel=0.15)
    assert pooled.offset == pytest.approx(-1.0, abs=0.2)


def test_probabilities_stay_without_any_fitted_label() -> None:
    fitted = fit_calibrations(np.full((4, 2), -1.0), np.zeros((4, 2)))
    assert not fitted.is_own.any()
    logits = np.array([[1.5, -2.0]])
    assert fitted.apply(logits).tolist() == logits.tolist()


def test_calibration_keeps_average_precision() -> None:
    targets, logits = photos_of(np.array([0.3, 1.2, -0.5]), np.array([2.0, -2.0, 0.0]), 500)
    fitted = fit_calibrations(targets, logits)
    assert min(each.scale for each in fitted.calibrations) > 0
    before = average_precision(targets, logits)
    assert average_precision(targets, fitted.apply(logits)) == pytest.approx(before, abs=1e-12)


def test_cross_validated_summary_holds_on_unseen_photos() -> None:
    scales, offsets = np.linspace(0.3, 0.9, 8), np.linspace(-2, 1, 8)
    targets, logits = photos_of(scales, offsets, 1500)
    targets[np.random.default_rng(1).random(targets.shape) < 0.3] = -1.0
    fitted = fit_calibrations(targets, logits)
    losses, summary = summarise_calibrations(targets, logits, fitted)
    others, other_logits = photos_of(scales, offsets, 20_000, seed=1)
    unseen = fitted.apply(other_logits)
    assert summary.log_loss == pytest.approx(log_loss(others, unseen), abs=0.015)
    assert summary.log_loss < summary.log_loss_before - 0.02
    error = reliability_diagram(others, sigmoid(unseen)).calibration_error
    assert error < 0.02
    assert summary.expected_calibration_error < 0.03
    assert summary.expected_calibration_error_before > 0.09
    assert (losses[:, 0] < losses[:, 1]).all()
    assert (summary.labels, summary.pooled) == (8, 0)


def test_log_loss_equals_scikit_learn() -> None:
    targets, logits = photos_of(np.ones(3), np.zeros(3), 200)
    targets[::3] = -1.0
    known = targets >= 0
    expected = sklearn_log_loss(targets[known], sigmoid(logits[known]))
    assert log_loss(targets, logits) == pytest.approx(expected)
    assert log_loss(np.array([[1.0, 0.0]]), np.array([[800.0, 800.0]])) == 400.0
    assert np.isnan(log_loss(np.array([[-1.0]]), np.array([[0.0]])))
