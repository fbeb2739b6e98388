"""Ranking metrics against naive ones."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.evaluation.metrics import average_precision, lift_over_chance, macro_map
from app.evaluation.thresholds import best_f1_threshold

Floats = NDArray[np.float64]


def naive_average_precision(targets: Floats, scores: Floats) -> float:
    known = [(s, y) for s, y in zip(scores, targets, strict=True) if y >= 0]
    positives = sum(y for _, y in known)
    if not positives:
        return math.nan
    area, recall_before = 0.0, 0.0
    for threshold in sorted({s for s, _ in known}, reverse=True):
        kept = [y for s, y in known if s >= threshold]
        recall = sum(kept) / positives
        area += (recall - recall_before) * sum(kept) / len(kept)
        recall_before = recall
    return area


@st.composite
def problems(draw: st.DrawFn) -> tuple[Floats, Floats]:
    images, classes = draw(st.integers(1, 12)), draw(st.integers(1, 4))
    size = images * classes
    value = st.sampled_from([0.0, 1.0, -1.0])
    targets = draw(st.lists(value, min_size=size, max_size=size))
    score = st.sampled_from([0.0, 0.1, 0.2, 0.5, 0.9]) | st.floats(-1, 1)
    scores = draw(st.lists(score, min_size=size, max_size=size))
    shape = (images, classes)
    return np.array(targets).reshape(shape), np.array(scores).reshape(shape)


@given(problems())
def test_average_precision_is_the_naive_one(problem: tuple[Floats, Floats]) -> None:
    targets, scores = problem
    expected = [naive_average_precision(targets[:, c], scores[:, c]) for c in range(len(targets.T))]
    np.testing.assert_allclose(average_precision(targets, scores), expected, atol=1e-9)


def test_a_class_without_a_known_positive_is_left_out_of_the_mean() -> None:
    targets = np.array([[1.0, 0.0, -1.0], [0.0, 0.0, -1.0]])
    values = average_precision(targets, np.array([[0.9, 0.1, 0.2], [0.1, 0.8, 0.3]]))
    assert values[0] == 1.0
    assert np.isnan(values[1:]).all()
    assert macro_map(values) == 1.0
    assert math.isnan(macro_map(values[1:]))


def test_lift_is_zero_at_chance_and_one_when_perfect() -> None:
    targets = np.array([[1.0, 1.0], [0.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    lift = lift_over_chance(targets, np.array([0.25, 1.0]))
    assert lift[0] == pytest.approx(0.0)
    assert lift[1] == 1.0


def test_lift_is_undefined_where_every_known_image_is_positive() -> None:
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
def test_no_threshold_has_a_better_f1(pairs: list[tuple[float, float]]) -> None:
    targets, scores = (np.array(column) for column in zip((1.0, 0.5), *pairs, strict=True))

    def f1_at(threshold: float) -> float:
        passed = (scores >= threshold) & (targets >= 0)
        hits = (passed & (targets == 1)).sum()
        return float(2 * hits / (passed.sum() + (targets == 1).sum()))

    threshold, f1 = best_f1_threshold(targets, scores)
    assert f1 == pytest.approx(max(f1_at(score) for score in scores))
    assert f1_at(threshold) == pytest.approx(f1)


def test_slack_gives_the_strictest_threshold_that_is_nearly_as_good() -> None:
    scores = np.linspace(0.99, 0.5, 50)
    targets = np.array([1.0] * 40 + [0.0] * 10)
    assert best_f1_threshold(targets, scores) == pytest.approx((0.595, 1.0))
    threshold, f1 = best_f1_threshold(targets, scores, slack=0.02)
    assert threshold == pytest.approx(0.605)
    assert f1 == pytest.approx(78 / 79)
