"""Fit of a new label: between text and examples, whatever their order; thresholds and checks."""

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from app.applications.new_labels import (
    Background,
    ExamplePhoto,
    LabelText,
    check_examples,
    fit_against,
    make_label,
)
from app.applications.new_labels.background import make_background
from app.applications.new_labels.contradictions import contradicting_examples
from app.applications.new_labels.decision import choose_cut
from app.applications.new_labels.fitting import (
    FOLDS,
    fit_probe,
    out_of_fold_scores,
    standardized,
    text_probe,
)
from app.core.checkpoint import KnownPhotos
from app.core.labels import builtin_label_set
from app.core.model import calibrated_logits, cosines, l2_normalize, logits, moments
from app.errors import InputError, LabelExistsError, OptionError
from tests.support.tiny import CALIBRATION, DIMENSION

LOGIT_SCALE = math.log(20)
LABELS = builtin_label_set()
CENTRE = torch.eye(DIMENSION)[0]


def rows(count: int, seed: int, near: Tensor | None = None) -> Tensor:
    """Return unit rows in random directions, or near one."""
    noise = torch.randn(count, DIMENSION, generator=torch.Generator().manual_seed(seed))
    return l2_normalize(noise if near is None else 8 * near + noise)


NEGATIVES = rows(200, 1)
TEXT = rows(1, 2, torch.eye(DIMENSION)[1] + 0.3 * CENTRE)[0]
START = text_probe(TEXT, 20.0, NEGATIVES)
EXAMPLES = rows(6, 3, CENTRE)


def distance(penalty: float, examples: Tensor = EXAMPLES) -> float:
    """Return how far the probe moves from the text."""
    probe = fit_probe(START, examples, NEGATIVES, penalty=penalty)
    return float((probe.weights - START.weights).norm())


def test_without_examples_probe_is_the_text() -> None:
    assert fit_probe(START, EXAMPLES[:0], NEGATIVES, penalty=1.0) is START
    assert torch.allclose(START.class_embedding, TEXT, atol=1e-6)
    assert START(NEGATIVES).median().item() == pytest.approx(0, abs=1e-9)


@settings(max_examples=8)
@given(st.floats(0.1, 50), st.floats(1.5, 10))
def test_higher_penalty_stays_nearer_to_text(penalty: float, factor: float) -> None:
    assert distance(penalty * factor) < distance(penalty)


def test_very_high_penalty_is_the_text() -> None:
    assert distance(1e7) < 1e-3 < distance(1.0)


@settings(max_examples=5)
@given(st.permutations(range(len(EXAMPLES))))
def test_order_of_examples_does_not_matter(order: list[int]) -> None:
    scores = out_of_fold_scores(START, EXAMPLES, NEGATIVES, penalty=1.0)
    reordered = out_of_fold_scores(START, EXAMPLES[order], NEGATIVES, penalty=1.0)
    assert torch.allclose(reordered, scores[order], atol=1e-4)
    assert distance(1.0, EXAMPLES[order]) == pytest.approx(distance(1.0), rel=1e-5)


def test_fit_is_the_same_at_each_call() -> None:
    first = fit_probe(START, EXAMPLES, NEGATIVES, penalty=1.0)
    again = fit_probe(START, EXAMPLES, NEGATIVES, penalty=1.0)
    assert torch.equal(first.weights, again.weights)
    assert first.bias == again.bias


def test_gradient_vanishes_at_the_fit() -> None:
    probe = fit_probe(START, EXAMPLES, NEGATIVES, penalty=2.0)
    weights = probe.weights.clone().requires_grad_()
    bias = torch.tensor(probe.bias, dtype=torch.float64, requires_grad=True)
    loss = torch.nn.functional.softplus
    examples, negatives = EXAMPLES.double() @ weights, NEGATIVES.double() @ weights
    total = (loss(-examples - bias).mean() + loss(negatives + bias).mean()) / 2
    share = (weights - START.weights).square().sum() / START.weights.square().sum()
    found = torch.autograd.grad(total + share, [weights, bias])
    assert max(each.abs().max().item() for each in found) < 1e-5


def test_out_of_fold_score_ignores_the_example_itself() -> None:
    odd = torch.cat([EXAMPLES[:FOLDS], -CENTRE[None]])
    scores = out_of_fold_scores(START, odd, NEGATIVES, penalty=1.0)
    within = standardized(fit_probe(START, odd, NEGATIVES, penalty=1.0), odd, NEGATIVES)
    assert scores[-1] < 0
    assert scores[-1] < within[-1] - 1


def test_only_the_wrong_example_is_named() -> None:
    odd = torch.cat([EXAMPLES[:FOLDS], -CENTRE[None]])
    scores = out_of_fold_scores(START, odd, NEGATIVES, penalty=1.0)
    assert (scores < 0).sum() > 1
    found = contradicting_examples(START, odd, NEGATIVES, 1.0, scores)
    assert [each.photo for each in found] == [4]


def test_counter_examples_lower_their_scores() -> None:
    counters = rows(3, 4, CENTRE + torch.eye(DIMENSION)[2])
    plain = fit_probe(START, EXAMPLES, NEGATIVES, penalty=1.0)
    separating = fit_probe(START, EXAMPLES, NEGATIVES, penalty=1.0, counter_examples=counters)
    margin = separating(EXAMPLES).mean() - separating(counters).mean()
    assert margin > plain(EXAMPLES).mean() - plain(counters).mean()


def test_cut_has_best_f1_between_separate_scores() -> None:
    negatives = torch.linspace(-3, 2, 500, dtype=torch.float64)
    decision = choose_cut(torch.tensor([4.0, 5, 6, 7]).double(), negatives)
    assert (decision.kind, decision.cut) == ("best_f1", 3.0)


def test_cut_of_few_examples_passes_two_percent_of_negatives() -> None:
    negatives = torch.linspace(0, 1, 101, dtype=torch.float64)
    decision = choose_cut(torch.tensor([4.0, 5, 6]).double(), negatives)
    assert decision.kind == "fallback"
    assert decision.cut == pytest.approx(0.98)


@pytest.mark.parametrize("count", [0, 2, 6])
def test_served_scores_pass_threshold_as_fitted(count: int) -> None:
    background = Background(NEGATIVES, "known_photos")
    new, contradictions = fit_against(
        background,
        make_label(LabelText("Red wall"), LABELS),
        TEXT,
        EXAMPLES[:count],
        EXAMPLES[:0],
        logit_scale=LOGIT_SCALE,
    )
    assert not contradictions
    row = TEXT if new.class_embedding is None else new.class_embedding
    calibration = new.label.calibration
    served = calibrated_logits(
        logits(cosines(NEGATIVES, row[None]), LOGIT_SCALE),
        torch.tensor([calibration.scale]),
        torch.tensor([calibration.offset]),
    )[:, 0]
    assert torch.allclose(served, new.negative_logits, atol=1e-3)
    assert (served >= 0).float().mean() <= 0.025
    assert new.label.thresholds.serve == 0.5
    assert new.label.thresholds.kind == ("best_f1" if count == 6 else "fallback")
    assert new.label.evidence == ("human" if count else "none")


def test_photos_with_the_parent_are_no_negatives() -> None:
    count = 200
    unknown = torch.full((count,), -1, dtype=torch.int8)
    pool = unknown.clone()
    pool[:20], pool[20:40] = 1, 0
    known = KnownPhotos(NEGATIVES, {"swimming_pool": pool, "sauna": unknown})
    plain = make_background(known, None, [])
    assert plain is not None
    assert torch.equal(plain.embeddings, known.embeddings)
    child = make_background(known, None, ["swimming_pool"])
    assert child is not None
    assert torch.equal(child.embeddings, known.embeddings[20:])


def test_moments_replace_missing_known_photos() -> None:
    drawn, again = (make_background(None, CALIBRATION, []) for _ in range(2))
    assert drawn is not None
    assert again is not None
    assert drawn.kind == "moments"
    assert torch.equal(drawn.embeddings, again.embeddings)
    found = moments(drawn.embeddings)
    expected = CALIBRATION.photos.mean / CALIBRATION.photos.mean.norm()
    assert torch.cosine_similarity(found.mean, expected, dim=0) > 0.9
    assert make_background(None, None, []) is None


def test_id_and_description_are_derived_from_name() -> None:
    label = make_label(LabelText("  Café Terrace "), LABELS)
    assert (label.id, label.name, label.description) == (
        "cafe_terrace",
        "Café Terrace",
        "Café Terrace",
    )


@pytest.mark.parametrize(
    ("text", "error", "problem"),
    [
        (LabelText("Sauna"), LabelExistsError, "id: a label 'sauna' exists"),
        (LabelText("sauna ", id="steam"), LabelExistsError, "name: the label 'sauna' has the same"),
        (LabelText("Steam", id="Steam!"), OptionError, "id: String should match pattern"),
        (LabelText("Steam", parents=("suana",)), OptionError, "parents: .*sauna"),
        (LabelText("Steam", prompt="description"), OptionError, "description: is missing"),
    ],
)
def test_invalid_text_is_refused(text: LabelText, error: type[InputError], problem: str) -> None:
    with pytest.raises(error, match=problem):
        make_label(text, LABELS)


def test_only_counter_examples_are_refused() -> None:
    with pytest.raises(OptionError, match="send at least one example too"):
        check_examples([ExamplePhoto("a", "1", is_counter_example=True)])
    check_examples([])
