"""Selection of the labels of a response."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from app.core.labels import Label, LabelSet, Thresholds, make_selection
from app.errors import OptionError


def label(id: str, category: str, serve: float | None = 0.5) -> Label:
    return Label(
        id=id,
        name=id,
        description=f"{id}, described",
        category=category,
        thresholds=Thresholds(serve=serve),
    )


LABELS = LabelSet(
    version="1",
    labels=(
        label("pool", "Facilities", 0.5),
        label("sauna", "Facilities", 0.25),
        label("sea", "Nature", 0.75),
        label("mountain", "Nature", 0.5),
        label("bedroom", "Rooms", 0.5),
        label("attic", "Rooms", None),
    ),
)
LOGITS = torch.tensor([0.5, 0.3, 0.7, 0.9, 0.1, 0.8]).logit()
IDS = LABELS.ids
CATEGORIES = LABELS.categories


def ids(logits: Tensor = LOGITS, **options: Any) -> list[str]:
    selection = make_selection(LABELS, **options)
    return [tag.label.id for tag in selection(logits)]


def test_label_is_selected_at_its_own_threshold() -> None:
    assert ids() == ["mountain", "pool", "sauna"]


def test_min_confidence_replaces_every_threshold() -> None:
    assert ids(min_confidence=0.6) == ["mountain", "attic", "sea"]
    assert ids(min_confidence=0.7) == ["mountain", "attic", "sea"]
    assert len(ids(min_confidence=0.0)) == len(IDS)
    assert ids(min_confidence=1.0) == []
    assert ids(torch.full((6,), 20.0), min_confidence=1.0) == IDS


def test_label_without_threshold_is_not_selected_by_default() -> None:
    certain = torch.full((6,), 200.0)
    assert ids(certain) == IDS[:5]
    assert ids(certain, include_labels=["attic"]) == []
    assert ids(certain, include_categories=["Rooms"]) == ["bedroom"]
    assert ids(certain, include_labels=["attic"], min_confidence=1.0) == ["attic"]
    (tag,) = make_selection(LABELS, include_labels=["attic"], all_scores=True)(LOGITS)
    assert (tag.label.id, tag.threshold) == ("attic", None)
    (tag,) = make_selection(LABELS, include_labels=["attic"], min_confidence=0.25)(LOGITS)
    assert tag.threshold == 0.25


def test_tag_has_confidence_and_threshold() -> None:
    best, *_ = make_selection(LABELS)(LOGITS)
    assert (best.label.id, best.threshold) == ("mountain", 0.5)
    assert best.confidence == pytest.approx(0.9)
    best, *_ = make_selection(LABELS, min_confidence=0.25)(LOGITS)
    assert best.threshold == 0.25


def test_max_labels_keeps_highest_scores() -> None:
    assert ids(max_labels=2) == ["mountain", "pool"]
    assert ids(max_labels=50) == ["mountain", "pool", "sauna"]


def test_all_scores_ignores_thresholds() -> None:
    assert ids(all_scores=True) == ["mountain", "attic", "sea", "pool", "sauna", "bedroom"]
    assert ids(all_scores=True, exclude_categories=["Nature", "Rooms"]) == ["pool", "sauna"]


def test_equal_scores_keep_label_set_order() -> None:
    assert ids(torch.full((6,), 1.5), all_scores=True) == IDS


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_labels_of_equal_probability_are_ordered_by_logit(sign: float) -> None:
    logits = sign * torch.tensor([140.0, 130.0, 150.0, 120.0, 160.0, 135.0])
    best_first = ["bedroom", "sea", "pool", "attic", "sauna", "mountain"][:: int(sign)]
    assert len(set(logits.sigmoid().tolist())) == 1
    assert ids(logits, all_scores=True) == best_first
    assert ids(logits, min_confidence=0.0, max_labels=2) == best_first[:2]


def test_include_options_form_union() -> None:
    assert ids(include_labels=["pool"], include_categories=["Nature"]) == ["mountain", "pool"]


def test_exclude_options_apply_after_include_options() -> None:
    assert ids(include_categories=["Nature", "Facilities"], exclude_labels=["mountain"]) == [
        "pool",
        "sauna",
    ]
    assert ids(exclude_labels=["pool"], exclude_categories=["Nature"]) == ["sauna"]
    assert ids(include_labels=["pool"], exclude_labels=["pool"]) == []


@pytest.mark.parametrize(
    ("option", "name", "hint"),
    [
        ("include_labels", "pol", "no label 'pol'; did you mean pool?"),
        ("exclude_labels", "muontain", "did you mean mountain?"),
        ("include_categories", "nature", "no category 'nature'; did you mean Nature?"),
        ("exclude_categories", "Roms", "did you mean Rooms?"),
        ("include_labels", "qqqqqq", "no label 'qqqqqq'; the label set has none like it"),
    ],
)
def test_unknown_name_raises_with_suggestion(option: str, name: str, hint: str) -> None:
    with pytest.raises(OptionError) as caught:
        ids(LOGITS, **{option: [name]})
    assert caught.value.field == option
    assert hint in str(caught.value)


def test_selection_is_reusable() -> None:
    selection = make_selection(LABELS, max_labels=1, all_scores=True)
    photos = 4 * torch.eye(6)
    assert [selection(row)[0].label.id for row in photos] == IDS


some_ids = st.lists(st.sampled_from(IDS), max_size=3)
some_categories = st.lists(st.sampled_from(CATEGORIES), max_size=2)


@given(
    logits=st.lists(st.floats(-200, 200, width=32), min_size=6, max_size=6),
    min_confidence=st.none() | st.floats(0, 1, width=32),
    max_labels=st.none() | st.integers(1, 6),
    all_scores=st.booleans(),
    include_labels=some_ids,
    include_categories=some_categories,
    exclude_labels=some_ids,
    exclude_categories=some_categories,
)
def test_selection_equals_naive_loop(
    logits: list[float],
    min_confidence: float | None,
    max_labels: int | None,
    all_scores: bool,
    include_labels: list[str],
    include_categories: list[str],
    exclude_labels: list[str],
    exclude_categories: list[str],
) -> None:
    kept = []
    probabilities = torch.tensor(logits).sigmoid().tolist()
    for entry, logit, probability in zip(LABELS.labels, logits, probabilities, strict=True):
        named = entry.id in include_labels or entry.category in include_categories
        if (include_labels or include_categories) and not named:
            continue
        if entry.id in exclude_labels or entry.category in exclude_categories:
            continue
        threshold = entry.thresholds.serve if min_confidence is None else min_confidence
        if all_scores or (threshold is not None and probability >= threshold):
            kept.append((logit, entry.id, probability))
    kept.sort(key=lambda triple: -triple[0])

    tags = make_selection(
        LABELS,
        min_confidence=min_confidence,
        max_labels=max_labels,
        all_scores=all_scores,
        include_labels=include_labels,
        include_categories=include_categories,
        exclude_labels=exclude_labels,
        exclude_categories=exclude_categories,
    )(torch.tensor(logits))
    expected = [(id, probability) for _, id, probability in kept[:max_labels]]
    assert [(tag.label.id, tag.confidence) for tag in tags] == expected
