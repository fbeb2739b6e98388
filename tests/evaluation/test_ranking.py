"""Ranking metrics equal naive implementations."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.evaluation.metrics import (
    average_precision,
    global_average_precision,
    global_average_precision_at_k,
    macro_map,
)
from app.evaluation.metrics.ranking import lift_over_chance, weighted_map
from app.evaluation.thresholds.fitting import best_f1_threshold
from tests.support.ranking import Floats, naive_average_precision, naive_gap_at_k, problems


@given(problems())
def test_average_precision_equals_naive_loop(problem: tuple[Floats, Floats]) -> None:
    targets, scores = problem
    expected = [naive_average_precision(targets[:, c], scores[:, c]) for c in range(len(targets.T))]
    np.testing.assert_allclose(average_precision(targets, scores), expected, atol=1e-9)


def test_class_without_positive_or_negative_is_excluded_from_mean() -> None:
    targets = np.array([[1.0, 0.0, -1.0, 1.0], [0.0, 0.0, -1.0, 1.0]])
    values = average_precision(targets, np.array([[0.9, 0.1, 0.2, 0.5], [0.1, 0.8, 0.3, 0.4]]))
    assert values[0] == 1.0
    assert np.isnan(values[1:]).all()
    assert macro_map(values) == 1.0
    assert math.isnan(macro_map(values[1:]))


@given(problems())
def test_macro_and_weighted_map_equal_naive_loop(problem: tuple[Floats, Floats]) -> None:
    targets, scores = problem
    columns = zip(targets.T, scores.T, strict=True)
    every = [(naive_average_precision(y, s), sum(y == 1)) for y, s in columns]
    defined = [(ap, positives) for ap, positives in every if not math.isnan(ap)]
    values = average_precision(targets, scores)
    weighted = weighted_map(values, (targets == 1).sum(axis=0))
    if not defined:
        assert math.isnan(macro_map(values))
        assert math.isnan(weighted)
        return
    assert macro_map(values) == pytest.approx(sum(ap for ap, _ in defined) / len(defined))
    positives = sum(n for _, n in defined)
    assert weighted == pytest.approx(sum(ap * n for ap, n in defined) / positives)


@given(problems())
def test_gap_equals_naive_loop(problem: tuple[Floats, Floats]) -> None:
    targets, scores = problem
    expected = naive_average_precision(targets.ravel(), scores.ravel())
    assert global_average_precision(targets, scores) == pytest.approx(
        expected, abs=1e-6, nan_ok=True
    )


@given(problems(), st.integers(1, 6))
def test_gap_at_k_equals_naive_loop(problem: tuple[Floats, Floats], k: int) -> None:
    targets, scores = problem
    expected = naive_gap_at_k(targets, scores, k)
    assert global_average_precision_at_k(targets, scores, k) == pytest.approx(
        expected, abs=1e-6, nan_ok=True
    )


@given(problems())
def test_gap_at_k_equals_gap_for_at_most_k_known_labels(
    problem: tuple[Floats, Floats],
) -> None:
    targets, scores = problem
    most = max(1, int((targets >= 0).sum(axis=1).max()))
    expected = global_average_precision(targets, scores)
    assert global_average_precision_at_k(targets, scores, most) == pytest.approx(
        expected, nan_ok=True
    )


@given(problems(), st.sampled_from([-1.0, 0.0, 1.0, 2.0]))
def test_scores_of_unknown_pairs_do_not_matter(
    problem: tuple[Floats, Floats], score: float
) -> None:
    targets, scores = problem
    other = np.where(targets < 0, score, scores)
    assert global_average_precision(targets, other) == pytest.approx(
        global_average_precision(targets, scores), nan_ok=True
    )
    assert global_average_precision_at_k(targets, other, 2) == pytest.approx(
        global_average_precision_at_k(targets, scores, 2), nan_ok=True
    )


def test_gap_at_k_ignores_positives_below_top_k() -> None:
    targets = np.array([[1.0, 1.0, 0.0, -1.0], [0.0, 0.0, 1.0, 0.0]])
    scores = np.array([[0.9, 0.8, 0.1, 1.0], [0.7, 0.2, 0.3, 0.1]])
    assert global_average_precision_at_k(targets, scores, 1) == pytest.approx(1 / 3)
    assert global_average_precision_at_k(targets, scores, 2) == pytest.approx(1 / 3 + 1 / 3 + 1 / 4)


def test_lift_is_zero_at_chance_and_one_if_perfect() -> None:
    targets = np.array([[1.0, 1.0], [0.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    lift = lift_over_chance(targets, np.array([0.25, 1.0]))
    assert lift[0] == pytest.approx(0.0)
    assert lift[1] == 1.0


def test_lift_is_nan_without_known_negative() -> None:
    lift = lift_over_chance(np.array([[1.0], [-1.0]]), np.array([1.0]))
    assert np.isnan(lift).all()


@given(
    st.lists(
        st.tuples(
            st.sampled_from([1.0, 0.0, -1.0]), st.sampled_from([0.1, 0.2, 0.5]) | st.floats(0, 1)
        ),
        min_size=1,
        max_size=20,
    )
)
def test_best_f1_threshold_equals_exhaustive_search(pairs: list[tuple[float, float]]) -> None:
    targets, scores = (np.array(column) for column in zip((1.0, 0.5), *pairs, strict=True))

    def f1_at(threshold: float) -> float:
        passed = (scores >= threshold) & (targets >= 0)
        hits = (passed & (targets == 1)).sum()
        return float(2 * hits / (passed.sum() + (targets == 1).sum()))

    threshold, f1 = best_f1_threshold(targets, scores)
    assert f1 == pytest.approx(max(f1_at(score) for score in scores))
    assert f1_at(threshold) == pytest.approx(f1)


def test_slack_selects_strictest_threshold_within_tolerance() -> None:
    scores = np.linspace(0.99, 0.5, 50)
    targets = np.array([1.0] * 40 + [0.0] * 10)
    assert best_f1_threshold(targets, scores) == pytest.approx((0.595, 1.0))
    threshold, f1 = best_f1_threshold(targets, scores, slack=0.02)
    assert threshold == pytest.approx(0.605)
    assert f1 == pytest.approx(78 / 79)
