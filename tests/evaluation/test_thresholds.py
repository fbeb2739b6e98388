"""Guarantees of fitted thresholds on unseen photos."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.core.labels import Label, LabelSet
from app.evaluation.metrics import sigmoid
from app.evaluation.thresholds import (
    ThresholdRules,
    apply_thresholds,
    fit_thresholds,
    summarise_thresholds,
)
from app.evaluation.thresholds.fitting import merge_teacher_targets, precision_threshold
from app.evaluation.thresholds.recall_bounds import allowed_misses, recall_lower_bound
from app.evaluation.thresholds.summary import count_passing, count_passing_cross_validated

Floats = NDArray[np.float64]


def logit(probabilities: Floats) -> Floats:
    return np.asarray(np.log(probabilities / (1 - probabilities)))


def photos_of(seed: int, images: int = 600) -> tuple[Floats, Floats]:
    """Draw targets and logits of twelve labels, common to rare, with different score levels."""
    draw = np.random.default_rng(seed)
    shares = np.geomspace(0.4, 0.01, 12)
    levels = np.linspace(-1.0, 1.0, 12)  # equal scores mean different probabilities per label
    targets = (draw.random((images, 12)) < shares).astype(np.float64)
    logits = draw.normal(6 * targets - 4 + levels, 1.2)
    targets[draw.random(targets.shape) < 0.3] = -1.0
    return targets, logits


def test_store_recall_holds_on_unseen_photos() -> None:
    reached = []
    for seed in range(10):
        fitted = fit_thresholds(*photos_of(seed), ThresholdRules(recall=0.98, confidence=0.95))
        assert (fitted.store <= fitted.serve).all()
        other, logits = photos_of(seed + 1000, images=2000)
        pooled = count_passing(other, sigmoid(logits), fitted.serve, fitted.store).pooled
        reached.append(pooled.recall[0] >= 0.98)
        assert pooled.recall[0] > 0.97
        assert pooled.dropped[0] > 0.75
    assert sum(reached) >= 9


def test_cross_validated_summary_holds_on_unseen_photos() -> None:
    rules = ThresholdRules()
    targets, logits = photos_of(5)
    fitted = fit_thresholds(targets, logits, rules)
    _, _, summary = summarise_thresholds(targets, logits, fitted, rules)
    others, other_logits = photos_of(6, images=5000)
    other = count_passing(others, sigmoid(other_logits), fitted.serve, fitted.store)
    assert summary.unseen_recall == pytest.approx(other.pooled.recall[0], abs=0.01)
    assert summary.unseen_dropped == pytest.approx(other.pooled.dropped[0], abs=0.05)
    assert summary.recall_at_least <= summary.recall
    assert summary.best_macro_f1 - 0.011 <= summary.macro_f1 <= summary.best_macro_f1


def test_higher_recall_or_confidence_lowers_store() -> None:
    data = photos_of(0)
    stores = [
        fit_thresholds(*data, ThresholdRules(recall=recall, confidence=confidence)).store
        for recall, confidence in ((0.9, 0.95), (0.98, 0.5), (0.98, 0.95))
    ]
    assert (stores[0] >= stores[1]).all()
    assert (stores[1] >= stores[2]).all()


def test_label_with_too_few_examples_uses_fallback() -> None:
    targets, logits = photos_of(0)
    targets[:, 0] = np.where(targets[:, 0] == 0, -1.0, targets[:, 0])
    targets[:, 1:3] = -1.0
    targets[-1, :3] = 0.0  # one negative
    targets[0, 1:3] = 1.0  # one positive
    logits[:, 1] = logit(np.linspace(0.001, 0.999, len(logits)))
    logits[:, 2] -= 20
    fitted = fit_thresholds(targets, logits, ThresholdRules(min_positives=10))
    assert fitted.serve_kind[:4] == ("fallback", "fallback", "fallback", "best_f1")
    assert not fitted.store_is_fitted[:3].any()
    assert fitted.serve[1] == pytest.approx(0.987, abs=1e-3)  # 1 % and one photo pass
    assert fitted.serve[2] == 0.5
    assert fitted.store[0] == fitted.store[1] == fitted.store[2]
    assert fitted.evidence[:4] == ("human", "human", "human", "human")


@pytest.mark.parametrize("known", [[-1.0, -1.0], [1.0, -1.0], [-1.0, 0.0]])
def test_label_without_positive_or_negative_is_not_served(known: list[float]) -> None:
    targets, logits = photos_of(0)
    targets[:, 0] = np.resize(known, len(targets))
    logits[:, 0] += 40  # all its probabilities are 1
    rules = ThresholdRules()
    fitted = fit_thresholds(targets, logits, rules)
    assert (fitted.evidence[0], fitted.serve_kind[0]) == ("none", None)
    assert not fitted.saturated[0]
    assert 0 < fitted.store[0] < 1
    passed = count_passing(targets, sigmoid(logits), fitted.serve, fitted.store)
    assert passed.served_positives[0] + passed.served_negatives[0] == 0
    _, _, summary = summarise_thresholds(targets, logits, fitted, rules)
    _, _, others = summarise_thresholds(
        *(targets[:, 1:], logits[:, 1:]),
        fit_thresholds(targets[:, 1:], logits[:, 1:], rules),
        rules,
    )
    assert summary.macro_f1 == others.macro_f1
    assert math.isfinite(summary.unseen_macro_f1)


def test_fallback_passes_as_many_photos_as_known_positives() -> None:
    logits = np.linspace(0, 5, 101)[:, None]
    targets = np.full((101, 1), -1.0)
    targets[-20:] = 1.0
    targets[0] = 0.0
    fitted = fit_thresholds(targets, logits, ThresholdRules())
    assert 20 <= (sigmoid(logits) >= fitted.serve[0]).sum() <= 22
    assert not fitted.saturated[0]


def test_store_is_default_without_fitted_label() -> None:
    fitted = fit_thresholds(np.full((3, 2), -1.0), np.full((3, 2), 0.7), ThresholdRules())
    assert fitted.store.tolist() == [0.05, 0.05]


def test_confident_teacher_is_evidence_only_for_serve() -> None:
    targets = np.array([[1.0], [-1.0], [-1.0], [-1.0], [0.0]])
    teacher = np.array([[0.0], [0.9], [0.0], [0.2], [0.9]])
    assert merge_teacher_targets(targets, teacher).ravel().tolist() == [1.0, 1.0, 0.0, -1.0, 0.0]
    human, logits = photos_of(0)
    labels = np.where(human >= 0, human, 0.0)
    human[:, 0] = -1.0
    fitted = fit_thresholds(human, logits, ThresholdRules(), labels)
    assert fitted.serve_kind[0] == "best_f1"
    assert not fitted.store_is_fitted[0]
    assert fitted.evidence[:2] == ("pseudo", "human")


def test_evidence_is_human_only_if_humans_suffice() -> None:
    human, logits = photos_of(0)
    teacher = np.where(human >= 0, human, 0.0)
    for column, (positives, negatives) in enumerate([(2, 40), (2, 0), (12, 40)]):
        human[:, column] = -1.0
        human[:positives, column], human[-negatives or len(human) :, column] = 1.0, 0.0
    fitted = fit_thresholds(human, logits, ThresholdRules(), teacher)
    assert fitted.evidence[:3] == ("pseudo", "pseudo", "human")
    assert fitted.serve_kind[:3] == ("best_f1", "best_f1", "best_f1")
    few = np.full_like(teacher, -1.0)
    few[100:102], few[102:105] = 1.0, 0.0  # two positives and three negatives by the teacher
    fitted = fit_thresholds(human, logits, ThresholdRules(), few)
    assert fitted.evidence[:3] == ("human", "pseudo", "human")
    assert fitted.serve_kind[:3] == ("fallback", "fallback", "best_f1")


def test_label_set_states_evidence_and_null_threshold() -> None:
    human = np.array([[1.0, 1.0, -1.0], [0.0, -1.0, -1.0]])
    logits = np.array([[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0]])
    teacher = np.array([[-1.0, -1.0, 0.9], [-1.0, -1.0, 0.0]])
    labels = LabelSet(
        version="1",
        labels=tuple(
            Label(id=id, name=id, description=id, category="Inside")
            for id in ("photographed", "positive", "taught")
        ),
    )
    fitted = fit_thresholds(human, logits, ThresholdRules(min_positives=1), teacher)
    photographed, positive, taught = apply_thresholds(labels, fitted).labels
    assert (photographed.evidence, photographed.thresholds.kind) == ("human", "best_f1")
    assert photographed.thresholds.serve == pytest.approx(0.5)
    assert (positive.evidence, positive.thresholds.serve) == ("none", None)
    assert taught.evidence == "pseudo"
    assert taught.thresholds.serve == pytest.approx(0.5)


@given(
    st.lists(
        st.tuples(st.sampled_from([1.0, 0.0, -1.0]), st.sampled_from([0.1, 0.2, 0.5, 0.9])),
        max_size=12,
    ),
    st.floats(0, 1),
)
def test_precision_threshold_is_lowest_precise_enough(
    pairs: list[tuple[float, float]], wanted: float
) -> None:
    targets, scores = (np.array(column) for column in zip((1.0, 0.5), *pairs, strict=True))

    def precision_at(threshold: float) -> float:
        passed = (scores >= threshold) & (targets >= 0)
        return float((passed & (targets == 1)).sum() / passed.sum())

    known = sorted({score for score, y in zip(scores, targets, strict=True) if y >= 0})
    threshold, precision = precision_threshold(targets, scores, wanted)
    assert precision == pytest.approx(precision_at(threshold))
    enough = [score for score in known if precision_at(score) >= wanted]
    if enough:
        assert precision >= wanted
        assert not [score for score in enough if score < threshold]
    else:
        assert precision == pytest.approx(max(map(precision_at, known)))


@given(st.integers(1, 400), st.sampled_from([0.9, 0.95, 0.98]), st.sampled_from([0.5, 0.9, 0.95]))
def test_allowed_misses_follow_binomial_bound(
    positives: int, recall: float, confidence: float
) -> None:
    def at_most(lost: int) -> float:
        terms = range(lost + 1)
        chances = (
            math.comb(positives, k) * (1 - recall) ** k * recall ** (positives - k) for k in terms
        )
        return math.fsum(chances)

    lost = allowed_misses(positives, recall, confidence)
    assert at_most(lost + 1) > 1 - confidence
    if at_most(0) <= 1 - confidence:
        assert at_most(lost) <= 1 - confidence
        assert recall_lower_bound(positives - lost, positives, confidence) >= recall - 1e-6
    else:
        assert lost == 0
        assert recall_lower_bound(positives, positives, confidence) < recall


def test_scores_of_exactly_zero_and_one_are_fitted() -> None:
    targets = np.tile([[1.0], [0.0]], (50, 1))
    logits = np.where(targets == 1, 40.0, -200.0).astype(np.float32)
    probabilities = sigmoid(logits)
    assert set(probabilities.ravel().tolist()) == {0.0, 1.0}
    fitted = fit_thresholds(targets, logits, ThresholdRules())
    kept = count_passing(targets, probabilities, fitted.serve, fitted.store).pooled
    assert (kept.recall[0], kept.dropped[0], kept.f1[0]) == (1.0, 0.5, 1.0)
    assert not fitted.saturated[0]
    unseen = count_passing_cross_validated(targets, logits, ThresholdRules())
    assert unseen.pooled.recall[0] == 1.0


def ranked_photos(level: float) -> tuple[Floats, NDArray[np.float32]]:
    """Draw targets and logits around a level; the logits rank the photos well."""
    draw = np.random.default_rng(0)
    logits = draw.normal(0, 3, (400, 1))
    targets = (logits + draw.normal(0, 1, logits.shape) > 1).astype(np.float64)
    return targets, (logits + level).astype(np.float32)


@pytest.mark.parametrize("level", [0.0, 8.0, -18.0, -60.0])
def test_scores_near_zero_or_one_meet_recall_and_f1(level: float) -> None:
    targets, logits = ranked_photos(level)
    rules = ThresholdRules(slack=0.0)
    fitted = fit_thresholds(targets, logits, rules)
    _, _, summary = summarise_thresholds(targets, logits, fitted, rules)
    assert summary.macro_f1 == summary.best_macro_f1
    assert summary.recall >= 0.98
    assert not fitted.saturated[0]


@pytest.mark.parametrize("rules", [ThresholdRules(), ThresholdRules(precision=0.9)])
@pytest.mark.parametrize("level", [30.0, -160.0])
def test_saturated_label_is_marked_and_keeps_recall(level: float, rules: ThresholdRules) -> None:
    targets, logits = ranked_photos(level)
    assert len(np.unique(sigmoid(logits))) == 1
    fitted = fit_thresholds(targets, logits, rules)
    assert fitted.saturated[0]
    _, best, summary = summarise_thresholds(targets, logits, fitted, rules)
    separated = fit_thresholds(targets, logits - np.float32(level), rules)
    assert not separated.saturated[0]
    assert best[0] > summary.macro_f1 + 0.1
    assert summary.recall == 1.0
    assert (sigmoid(logits) >= fitted.serve[0]).all()


@pytest.mark.parametrize(("level", "saturated"), [(0.0, False), (30.0, True), (-160.0, False)])
def test_saturated_fallback_is_marked(level: float, saturated: bool) -> None:
    _, logits = ranked_photos(level)
    targets = np.full(logits.shape, -1.0)
    targets[logits.argmax()], targets[logits.argmin()] = 1.0, 0.0
    fitted = fit_thresholds(targets, logits, ThresholdRules())
    assert bool(fitted.saturated[0]) is saturated
    assert (sigmoid(logits) >= fitted.serve[0]).all() == saturated


def test_store_drops_most_negatives_of_stock_clip_scores() -> None:
    """A threshold of probabilities exists up to a logit of 16, where the positives may begin."""
    draw = np.random.default_rng(0)
    targets = (draw.random((600, 8)) < 0.2).astype(np.float64)
    logits = draw.normal(6 + 14 * targets + np.linspace(-2, 2, 8), 1.5).astype(np.float32)
    fitted = fit_thresholds(targets, logits, ThresholdRules())
    pooled = count_passing(targets, sigmoid(logits), fitted.serve, fitted.store).pooled
    assert pooled.recall[0] >= 0.98
    assert pooled.dropped[0] > 0.75
    assert not fitted.saturated.any()


def test_inverted_scores_keep_recall() -> None:
    draw = np.random.default_rng(0)
    targets = (draw.random((300, 6)) < 0.3).astype(np.float64)
    logits = draw.normal(-3 * targets, 1)
    fitted = fit_thresholds(targets, logits, ThresholdRules())
    kept = count_passing(targets, sigmoid(logits), fitted.serve, fitted.store).pooled
    assert kept.recall[0] >= 0.98
