"""Calibration equals a naive implementation and scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from app.evaluation.metrics.calibration import reliability_diagram
from tests.support.ranking import Floats, problems


@given(problems(), st.integers(1, 12))
def test_reliability_equals_naive_loop(problem: tuple[Floats, Floats], bins: int) -> None:
    targets, probabilities = problem
    found = reliability_diagram(targets, probabilities, bins)
    assert found.edges == pytest.approx([i / bins for i in range(bins + 1)])
    pairs = [(p, y) for p, y in zip(probabilities.ravel(), targets.ravel(), strict=True) if y >= 0]
    error = 0.0
    for i, (low, high) in enumerate(zip(found.edges[:-1], found.edges[1:], strict=True)):
        inside = [(p, y) for p, y in pairs if low < p <= high or (i == 0 and p == 0)]
        assert found.pairs[i] == len(inside)
        if inside:
            mean_probability = sum(p for p, _ in inside) / len(inside)
            frequency = sum(y for _, y in inside) / len(inside)
            assert found.probability[i] == pytest.approx(mean_probability, abs=1e-6)
            assert found.frequency[i] == pytest.approx(frequency, abs=1e-6)
            error += len(inside) / len(pairs) * abs(mean_probability - frequency)
        else:
            assert np.isnan([found.probability[i], found.frequency[i]]).all()
    expected = error if pairs else math.nan
    assert found.calibration_error == pytest.approx(expected, abs=1e-6, nan_ok=True)


def test_reliability_equals_scikit_learn() -> None:
    draw = np.random.default_rng(0)
    probabilities = draw.random((200, 5))
    targets = (draw.random((200, 5)) < probabilities).astype(float)
    found = reliability_diagram(targets, probabilities)
    frequency, probability = calibration_curve(targets.ravel(), probabilities.ravel(), n_bins=10)
    np.testing.assert_allclose(found.frequency, frequency)
    np.testing.assert_allclose(found.probability, probability)
    assert found.calibration_error < 0.05


def test_confident_errors_give_maximum_calibration_error() -> None:
    targets, probabilities = np.array([[1.0, 0.0, -1.0]]), np.array([[0.0, 1.0, 0.5]])
    assert reliability_diagram(targets, probabilities).calibration_error == 1.0
