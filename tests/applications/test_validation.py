"""Declared facilities against scores: what confirms, what is not seen, what was not declared."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from app.applications.validation import (
    Finding,
    Validation,
    make_rules,
    prompts_of,
    read_declared,
    validate_listing,
)
from app.core.labels import Evidence, Label, LabelSet, ThresholdKind, Thresholds
from app.errors import OptionError


def label(
    id: str,
    serve: float | None = 0.5,
    *,
    name: str = "",
    parents: tuple[str, ...] = (),
    kind: ThresholdKind | None = "best_f1",
    evidence: Evidence | None = "human",
) -> Label:
    name = name or id.replace("_", " ").capitalize()
    thresholds = Thresholds(serve=serve, store=0.05, kind=kind)
    return Label(
        id=id,
        name=name,
        description=f"{name}, as described",
        category="Facilities",
        parents=parents,
        thresholds=thresholds,
        evidence=evidence,
    )


LABELS = LabelSet(
    version="1",
    labels=(
        label("pool", 0.9, name="Swimming pool"),
        label("indoor_pool", 0.6, name="Indoor pool", parents=("pool",)),
        label("heated_pool", 0.7, name="Heated pool", parents=("indoor_pool",), kind=None),
        label("sauna", None, kind=None, evidence="none"),
        label("gym", 0.8, kind="precision"),
        label("tent", None, kind=None),
        label("spa", None, kind=None, evidence="none"),
        label("steam_spa", 0.5, parents=("spa",), kind="manual"),
    ),
)
ALL = range(len(LABELS.labels))


def logits(*photos: dict[str, float]) -> torch.Tensor:
    """Build (N, C) logits from the probabilities of some labels; all others are near 0."""
    rows = [[photo.get(id, 0.001) for id in LABELS.ids] for photo in photos]
    return torch.tensor(rows).logit()


def validate(
    declared: list[str],
    *photos: dict[str, float],
    texts: tuple[tuple[float, ...], ...] = (),
    min_confidence: float | None = None,
    candidates: range | list[int] = ALL,
) -> Validation:
    """Validate; `texts` has the probabilities of each text, by photo."""
    return validate_listing(
        read_declared(declared, LABELS),
        LABELS,
        logits(*photos),
        torch.tensor(texts).T.logit() if texts else torch.empty(len(photos), 0),
        make_rules(LABELS, "calibrated", min_confidence),
        candidates,
    )


def photos_of(finding: Finding) -> list[tuple[int, str | None]]:
    return [(each.photo, each.label.id if each.label else None) for each in finding.evidence]


def undeclared(validation: Validation) -> list[str]:
    return [each.label.id for each in validation.undeclared]


def test_label_at_its_threshold_is_confirmed_best_photo_first() -> None:
    (gym,) = validate(["gym"], {"gym": 0.81}, {"gym": 0.79}, {"gym": 0.99}).declared
    assert (gym.status, photos_of(gym)) == ("confirmed", [(2, "gym"), (0, "gym")])
    assert gym.rule and (gym.rule.kind, gym.rule.scoring) == ("precision", None)
    assert gym.rule.threshold == pytest.approx(0.8)
    assert all(each.rule == gym.rule for each in gym.evidence)


@pytest.mark.parametrize(
    ("metrics", "precision"),
    [
        ({"thresholds": {"serve_precision": 0.95}}, 0.95),
        ({"thresholds": {"serve_precision": "high"}}, None),
        ({"thresholds": "fitted"}, None),
        ({}, None),
    ],
)
def test_rule_of_kind_precision_has_precision_of_card(
    metrics: dict[str, Any], precision: float | None
) -> None:
    rules = dict(zip(LABELS.ids, make_rules(LABELS, "sigmoid", None, metrics).labels, strict=True))
    gym, pool = rules["gym"], rules["pool"]
    assert gym and (gym.kind, gym.precision) == ("precision", precision)
    assert pool and (pool.kind, pool.precision) == ("best_f1", None)


def test_label_below_its_threshold_is_not_seen_with_best_photo() -> None:
    (gym,) = validate(["gym"], {"gym": 0.2}, {"gym": 0.79}).declared
    assert (gym.status, gym.evidence, gym.best_photo) == ("not_seen", (), 1)
    assert gym.best_confidence == pytest.approx(0.79)
    assert gym.reason is None


def test_parent_is_confirmed_by_photo_of_descendant() -> None:
    (pool,) = validate(["pool"], {"heated_pool": 0.75}, {"indoor_pool": 0.5}).declared
    assert (pool.status, photos_of(pool)) == ("confirmed", [(0, "heated_pool")])
    assert pool.rule and pool.rule.kind == "best_f1"
    assert pool.evidence[0].rule.kind == "not_stated"


def test_own_label_is_preferred_as_evidence() -> None:
    (pool,) = validate(["pool"], {"pool": 0.91, "indoor_pool": 0.99}).declared
    assert photos_of(pool) == [(0, "pool")]


def test_child_is_not_confirmed_by_photo_of_parent() -> None:
    (indoor,) = validate(["indoor_pool"], {"pool": 0.99}).declared
    assert indoor.status == "not_seen"


def test_unmeasured_label_is_not_judged_whatever_its_score() -> None:
    for min_confidence in (None, 0.1):
        result = validate(["sauna"], {"sauna": 0.999}, min_confidence=min_confidence)
        (sauna,) = result.declared
        assert (sauna.status, sauna.rule, sauna.evidence) == ("not_judged", None, ())
        assert sauna.reason and "evidence: none" in sauna.reason
        assert sauna.best_confidence == pytest.approx(0.999)
        assert "sauna" not in undeclared(validate(["gym"], {"sauna": 0.999}))


def test_unmeasured_parent_is_confirmed_by_measured_child() -> None:
    (spa,) = validate(["spa"], {"steam_spa": 0.6}).declared
    assert (spa.status, spa.rule, spa.reason) == ("confirmed", None, None)
    assert photos_of(spa) == [(0, "steam_spa")]


def test_label_without_threshold_needs_min_confidence() -> None:
    (tent,) = validate(["tent"], {"tent": 0.9}).declared
    assert tent.status == "not_judged"
    assert tent.reason and "min_confidence" in tent.reason
    (tent,) = validate(["tent"], {"tent": 0.9}, min_confidence=0.85).declared
    assert (tent.status, tent.rule and tent.rule.kind) == ("confirmed", "min_confidence")


def test_min_confidence_replaces_thresholds_of_labels_and_texts() -> None:
    result = validate(
        ["gym", "a rooftop"], {"gym": 0.4, "pool": 0.4}, texts=((0.4,),), min_confidence=0.4
    )
    assert [each.status for each in result.declared] == ["confirmed", "confirmed"]
    assert {each.rule.kind for each in result.declared if each.rule} == {"min_confidence"}
    assert undeclared(result) == ["pool"]


def test_texts_are_judged_in_order_by_their_own_scores() -> None:
    declared = ["a rooftop", "gym", "a library"]
    result = validate(declared, {}, {"gym": 0.9}, texts=((0.2, 0.49), (0.5, 0.6)))
    rooftop, gym, library = result.declared
    assert (rooftop.status, rooftop.best_photo) == ("not_seen", 1)
    assert (gym.status, photos_of(gym)) == ("confirmed", [(1, "gym")])
    assert (library.status, photos_of(library)) == ("confirmed", [(1, None), (0, None)])
    assert library.rule
    assert (library.rule.kind, library.rule.scoring) == ("zero_shot", "calibrated")


def test_undeclared_lists_seen_labels_best_first() -> None:
    result = validate(["sauna"], {"gym": 0.85}, {"gym": 0.9, "pool": 0.99})
    assert undeclared(result) == ["pool", "gym"]
    assert [each.photo for each in result.undeclared[1].evidence] == [1, 0]


def test_undeclared_leaves_out_declared_labels_and_their_ancestors() -> None:
    seen = {"pool": 0.99, "indoor_pool": 0.98, "heated_pool": 0.97}
    assert undeclared(validate(["heated_pool"], seen)) == []
    assert undeclared(validate(["indoor_pool"], seen)) == ["heated_pool"]
    assert undeclared(validate(["a rooftop"], seen, texts=((0.1,),))) == list(seen)


def test_undeclared_leaves_out_filtered_labels() -> None:
    gym = LABELS.index("gym")
    result = validate(["sauna"], {"gym": 0.9, "pool": 0.99}, candidates=[gym])
    assert undeclared(result) == ["gym"]


def test_saturated_scores_are_ordered_by_logits() -> None:
    scores = torch.full((3, len(LABELS.labels)), -20.0)
    scores[:, LABELS.index("gym")] = torch.tensor([30.0, 90.0, 60.0])
    rules = make_rules(LABELS, "sigmoid")
    facilities = read_declared(["gym"], LABELS)
    result = validate_listing(facilities, LABELS, scores, torch.empty(3, 0), rules, ALL)
    assert [each.photo for each in result.declared[0].evidence] == [1, 2, 0]
    assert result.declared[0].best_photo == 1


@given(
    st.lists(
        st.fixed_dictionaries({id: st.floats(0.01, 0.99) for id in LABELS.ids}),
        min_size=1,
        max_size=4,
    ),
    st.sets(st.sampled_from(LABELS.ids), min_size=1),
)
def test_every_judged_label_is_confirmed_or_undeclared_if_and_only_if_seen(
    photos: list[dict[str, float]], declared: set[str]
) -> None:
    result = validate(sorted(declared), *photos)
    values = logits(*photos).sigmoid()
    seen = {
        each.id
        for column, each in enumerate(LABELS.labels)
        if (values[:, column] >= LABELS.serve_thresholds[column]).any()
    }
    shown = seen.union(*(LABELS.ancestors(id) for id in seen))
    confirmed = {
        each.facility.label.id
        for each in result.declared
        if each.facility.label and each.status == "confirmed"
    }
    assert confirmed == declared & shown
    covered = declared.union(*(LABELS.ancestors(id) for id in declared))
    assert set(undeclared(result)) == seen - covered
    for finding in result.declared:
        assert bool(finding.evidence) == (finding.status == "confirmed")
        assert all(each.confidence >= each.rule.threshold for each in finding.evidence)


@pytest.mark.parametrize(
    "text", ["pool", "POOL", "Swimming pool", "swimming  POOL", "swimming&nbsp;pool"]
)
def test_id_and_name_mean_the_label(text: str) -> None:
    (facility,) = read_declared([text], LABELS)
    assert facility.text == text
    assert facility.label and facility.label.id == "pool"


def test_text_of_prompt_means_the_label() -> None:
    described = LABELS.labels[4].model_copy(update={"prompt": "description"})
    labels = LabelSet(version="1", labels=(described,))
    (facility,) = read_declared([described.description], labels)
    assert facility.label == described


def test_other_text_stays_text_with_similar_labels() -> None:
    rooftop, typo, long = read_declared(["a rooftop", "swiming pool", "swiming " * 20], LABELS)
    assert (rooftop.label, rooftop.similar) == (None, ())
    assert (typo.label, typo.similar[0]) == (None, "pool")
    assert long.similar == ()
    prompts = prompts_of([rooftop, *read_declared(["gym"], LABELS)], "a photo with {}")
    assert prompts == ["a photo with a rooftop"]


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        (["indor_pool"], "unknown label 'indor_pool'; did you mean 'indoor_pool'"),
        (["gym", "roof_terrace"], "unknown label 'roof_terrace'; a text of your own has blanks"),
        (["gym", "tent", "gym"], "'gym' is declared twice"),
        (["pool", "Swimming pool"], "are the label pool; declare one of them"),
        (["a rooftop", "A  Rooftop"], "are the same text; declare one of them"),
        (["p_" * 400], "unknown label"),
        (["an attic " * 90] * 2, "is declared twice"),
    ],
)
def test_wrong_declaration_is_refused_with_hint(declared: list[str], words: str) -> None:
    with pytest.raises(OptionError) as raised:
        read_declared(declared, LABELS)
    assert raised.value.field == "declared"
    assert words in str(raised.value)
    assert len(str(raised.value)) < 200


def test_name_of_two_labels_is_refused_and_id_is_not() -> None:
    twins = (
        label("bar", name="Bar"),
        label("wine_bar", name="Bar").model_copy(update={"prompt": "description"}),
        label("pub", name="Pub").model_copy(update={"description": "Bar", "prompt": "name"}),
    )
    labels = LabelSet(version="1", labels=twins)
    assert read_declared(["wine_bar"], labels)[0].label == twins[1]
    assert read_declared(["bar"], labels)[0].label == twins[0]
    renamed = LabelSet(
        version="1", labels=(twins[0].model_copy(update={"id": "snack_bar"}), twins[1])
    )
    with pytest.raises(OptionError, match="is the name of snack_bar and wine_bar; declare an id"):
        read_declared(["Bar"], renamed)
