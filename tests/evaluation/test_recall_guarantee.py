"""Thresholds with a guarantee of recall on unseen photos."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.evaluation.thresholds import ThresholdRules, fit_thresholds
from app.evaluation.thresholds.recall_bounds import least_positives

Floats = NDArray[np.float64]
LABELS = 1000
GRID = (np.arange(10) + 0.5) / 10


def drawn(positives: int, negatives: int, seed: int = 0) -> tuple[Floats, Floats]:
    """Draw probabilities of photos with and without each label, all between 0 and 1."""
    draw = np.random.default_rng(seed)
    targets = np.repeat([1.0, 0.0], [positives, negatives])[:, None] * np.ones(LABELS)
    return targets, draw.random(targets.shape)


def rules(recall: float, confidence: float) -> ThresholdRules:
    """Return rules that leave out `store`, which would be slow to fit to so many labels."""
    return ThresholdRules(recall_at_least=recall, confidence=confidence, min_positives=10_000)


def logit(probabilities: Floats) -> Floats:
    return np.asarray(np.log(probabilities / (1 - probabilities)))


@pytest.mark.parametrize(
    ("positives", "recall", "confidence"),
    [(22, 0.9, 0.9), (40, 0.9, 0.9), (50, 0.8, 0.95), (500, 0.95, 0.9)],
)
@pytest.mark.parametrize("tied", [False, True])
def test_recall_holds_with_confidence_on_unseen_photos(
    positives: int, recall: float, confidence: float, tied: bool
) -> None:
    targets, scores = drawn(positives, 20)
    if tied:
        scores = GRID[(scores * len(GRID)).astype(int)]
    fitted = fit_thresholds(targets, logit(scores), rules(recall, confidence))
    assert set(fitted.serve_kind) == {"recall"}
    on_unseen = (GRID[:, None] >= fitted.serve - 1e-9).mean(axis=0) if tied else 1 - fitted.serve
    assert (on_unseen >= recall).mean() >= confidence


def test_guarantee_does_not_waste_recall() -> None:
    """Of 500 positives, 16 may be missed for a recall of 0.95 with confidence 0.95."""
    targets, scores = drawn(500, 20)
    fitted = fit_thresholds(targets, logit(scores), rules(0.95, 0.95))
    missed = (scores[:500] < fitted.serve).sum(axis=0)
    assert set(missed.tolist()) == {16}


@given(st.floats(0.5, 0.99), st.floats(0.5, 0.999))
def test_least_positives_can_prove_recall(recall: float, confidence: float) -> None:
    least = least_positives(recall, confidence)
    assert recall**least <= (1 - confidence) * (1 + 1e-6)
    assert least == 1 or recall ** (least - 1) > (1 - confidence) * (1 - 1e-6)
    assert least_positives(0.5, 0.75) == 2


def test_label_with_too_few_positives_keeps_best_f1() -> None:
    draw = np.random.default_rng(0)
    targets = np.repeat([1.0, 0.0], [30, 60])[:, None] * np.ones(2)
    logits = draw.normal(2 * targets, 1)
    targets[21:30, 1] = -1.0
    wanted = ThresholdRules(recall_at_least=0.9, confidence=0.9)
    fitted = fit_thresholds(targets, logits, wanted)
    plain = fit_thresholds(targets, logits, ThresholdRules(confidence=0.9))
    assert least_positives(0.9, 0.9) == 22
    assert fitted.serve_kind == ("recall", "best_f1")
    assert fitted.serve[1] == plain.serve[1]
    assert fitted.serve[0] != plain.serve[0]


def test_guarantee_needs_human_positives_but_no_negatives() -> None:
    draw = np.random.default_rng(0)
    logits = draw.normal(0, 1, (80, 2))
    humans, teacher = np.full((80, 2), -1.0), np.full((80, 2), -1.0)
    humans[:40, 0] = 1.0
    teacher[:40, 1], teacher[40:, 1] = 1.0, 0.0
    fitted = fit_thresholds(
        humans, logits, ThresholdRules(recall_at_least=0.9, confidence=0.9), teacher
    )
    assert fitted.serve_kind == ("recall", "best_f1")
    assert fitted.evidence == ("human", "pseudo")
    assert 1 / (1 + math.exp(-np.sort(logits[:40, 0])[1])) >= fitted.serve[0]
    assert fitted.store[0] <= fitted.serve[0]


def test_saturated_guarantee_is_marked_and_keeps_recall() -> None:
    targets = np.repeat([1.0, 0.0], 100)[:, None]
    logits = (30 + np.random.default_rng(0).normal(3 * targets, 1)).astype(np.float32)
    wanted = ThresholdRules(recall_at_least=0.9, confidence=0.9)
    fitted = fit_thresholds(targets, logits, wanted)
    assert fitted.saturated[0]
    assert fitted.serve[0] <= 1.0  # the probability of every photo
    assert not fit_thresholds(targets, logits - np.float32(30), wanted).saturated[0]
