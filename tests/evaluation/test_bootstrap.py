"""Metrics of bootstrap draws equal metrics of actually repeated images."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.evaluation.metrics import (
    average_precision,
    bootstrap,
    draw_bootstrap_samples,
    global_average_precision,
    global_average_precision_at_k,
    macro_map,
    percentile_interval,
)
from app.evaluation.metrics.bootstrap import Draws, Values
from app.evaluation.metrics.calibration import reliability_diagram
from app.evaluation.metrics.ranking import weighted_map
from tests.support.ranking import Floats, problems


def macro(targets: Floats, scores: Floats) -> float:
    return macro_map(average_precision(targets, scores))


def macro_of_draws(targets: Floats, scores: Floats, draws: Draws) -> Values:
    ap = bootstrap.bootstrap_average_precision(targets, scores, draws)
    return bootstrap.bootstrap_macro_map(ap)


def weighted(targets: Floats, scores: Floats) -> float:
    return weighted_map(average_precision(targets, scores), (targets == 1).sum(axis=0))


def weighted_of_draws(targets: Floats, scores: Floats, draws: Draws) -> Values:
    ap = bootstrap.bootstrap_average_precision(targets, scores, draws)
    return bootstrap.bootstrap_weighted_map(targets, ap, draws)


@pytest.mark.parametrize(
    ("metric", "of_draws"),
    [
        (macro, macro_of_draws),
        (weighted, weighted_of_draws),
        (global_average_precision, bootstrap.bootstrap_gap),
        (partial(global_average_precision_at_k, k=2), partial(bootstrap.bootstrap_gap_at_k, k=2)),
        (
            lambda targets, scores: reliability_diagram(targets, scores).calibration_error,
            bootstrap.bootstrap_calibration_error,
        ),
    ],
    ids=["macro mAP", "weighted mAP", "GAP", "GAP@2", "calibration error"],
)
@given(problem=problems(), seed=st.integers(0, 99))
def test_metric_of_draw_equals_metric_of_repeated_images(
    metric: Callable[[Floats, Floats], float],
    of_draws: Callable[[Floats, Floats, Draws], Values],
    problem: tuple[Floats, Floats],
    seed: int,
) -> None:
    targets, scores = problem
    draws = draw_bootstrap_samples(len(targets), resamples=5, seed=seed)
    expected = [
        metric(targets.repeat(counts, axis=0), scores.repeat(counts, axis=0)) for counts in draws
    ]
    np.testing.assert_allclose(of_draws(targets, scores, draws), expected, atol=1e-9)


def test_each_class_has_own_interval() -> None:
    targets = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [1.0, -1.0]])
    scores = np.array([[0.9, 0.9], [0.1, 0.1], [0.2, 0.5], [0.8, 0.5]])
    values = bootstrap.bootstrap_average_precision(targets, scores, draw_bootstrap_samples(4))
    assert percentile_interval(values[:, 0]) == (1.0, 1.0)
    low, high = percentile_interval(values[:, 1])
    assert 0 < low < high < 1  # a draw without the negative is undefined, not 1


def test_chunked_draws_give_same_values(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    targets, scores = draw.integers(-1, 2, (30, 4)).astype(float), draw.random((30, 4))
    draws = draw_bootstrap_samples(30)
    whole = bootstrap.bootstrap_gap(targets, scores, draws)
    monkeypatch.setattr(bootstrap, "MAX_WEIGHTS", 1000)
    np.testing.assert_array_equal(bootstrap.bootstrap_gap(targets, scores, draws), whole)


def test_percentile_interval_ignores_nan() -> None:
    values = np.append(np.arange(101.0), [math.nan] * 50)
    assert percentile_interval(values) == pytest.approx((2.5, 97.5))
    assert percentile_interval(values, level=0.5) == pytest.approx((25, 75))
    assert np.isnan(percentile_interval(np.array([math.nan]))).all()


def test_draws_have_image_count_and_depend_on_seed() -> None:
    draws = draw_bootstrap_samples(7, resamples=20, seed=3)
    assert draws.shape == (20, 7)
    assert (draws.sum(axis=1) == 7).all()
    np.testing.assert_array_equal(draws, draw_bootstrap_samples(7, resamples=20, seed=3))
    assert (draws != draw_bootstrap_samples(7, resamples=20, seed=4)).any()
