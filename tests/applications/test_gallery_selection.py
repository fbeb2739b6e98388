"""Gallery selection: order, near-duplicates, flaws and reasons, on embeddings made for the test."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from app.applications.gallery import (
    Gallery,
    Quality,
    category_weights,
    check_count,
    choose_gallery,
)
from app.applications.gallery.selection import pick_photos
from app.applications.similarity import group_near_duplicates
from app.core.labels import builtin_label_set
from app.errors import OptionError

LABELS = builtin_label_set()
GOOD = Quality(sharpness=0.6, brightness=0.4, contrast=0.2, text=0.0)
DARK, BLURRED, TEXT = (
    replace(GOOD, brightness=0.05),
    replace(GOOD, sharpness=0.1),
    replace(GOOD, text=0.5),
)
ROOMS = ["kitchen", "bedroom", "building", "bathroom", "swimming_pool", "beach"]


def embeddings(photos: int, seed: int = 0) -> Tensor:
    """Return (N, 8) unit rows, none of them near-duplicates of each other."""
    rows = np.eye(8, dtype=np.float32)[np.arange(photos) % 8]
    noise = np.random.default_rng(seed).normal(0, 0.02, rows.shape).astype(np.float32)
    return torch.nn.functional.normalize(torch.from_numpy(rows + noise), dim=1)


def logits(*labels: str) -> Tensor:
    """Return (N, C) logits: each photo shows one label."""
    scores = torch.full((len(labels), len(LABELS.labels)), -8.0)
    for row, label in enumerate(labels):
        scores[row, LABELS.index(label)] = 4.0
    return scores


def choose(
    rows: Tensor,
    scores: Tensor,
    qualities: list[Quality],
    count: int = 10,
    weights: Mapping[str, float] | None = None,
) -> Gallery:
    by_category = category_weights(LABELS, weights or {})
    return choose_gallery(rows, scores, qualities, LABELS, by_category, count)


def chosen(gallery: Gallery) -> list[int]:
    return [choice.photo for choice in gallery.choices]


def test_building_and_room_come_first_and_each_category_once() -> None:
    labels = ["bathroom", "bathroom", "bedroom", "building", "kitchen", "bedroom"]
    order = chosen(choose(embeddings(6), logits(*labels), [GOOD] * 6, count=4))
    assert [labels[photo] for photo in order[:2]] == ["building", "bedroom"]
    assert {labels[photo] for photo in order} == {"building", "bedroom", "bathroom", "kitchen"}


def test_permutation_changes_only_positions() -> None:
    rows, scores = embeddings(6), logits(*ROOMS)
    qualities = [replace(GOOD, contrast=0.1 + 0.01 * place) for place in range(6)]
    expected = chosen(choose(rows, scores, qualities, count=4))
    order = [4, 2, 0, 5, 1, 3]
    gallery = choose(rows[order], scores[order], [qualities[i] for i in order], count=4)
    assert [order[photo] for photo in chosen(gallery)] == expected


def test_equal_photos_are_chosen_by_order() -> None:
    rows = torch.eye(4)
    gallery = choose(rows, logits(*["bedroom"] * 4), [GOOD] * 4, count=3)
    assert chosen(gallery) == [0, 1, 2]


def test_near_duplicate_changes_nothing_but_its_group() -> None:
    rows, scores = embeddings(6), logits(*ROOMS)
    before = choose(rows, scores, [GOOD] * 6, count=3)
    worse = replace(GOOD, contrast=0.1)
    gallery = choose(
        torch.cat([rows, rows[:1]]), torch.cat([scores, scores[:1]]), [*[GOOD] * 6, worse], 3
    )
    assert chosen(gallery) == chosen(before)
    assert [each.gain.total for each in gallery.choices] == pytest.approx(
        [each.gain.total for each in before.choices], abs=1e-6
    )
    (group,) = gallery.duplicates
    assert (group.best, group.others) == (0, (6,))
    assert group.similarities[0] == pytest.approx(1)
    assert gallery.left_out[-1].reason == "duplicate"
    assert gallery.left_out[-1].duplicate_of == 0


def test_better_photo_stands_for_near_duplicates() -> None:
    rows = embeddings(1).repeat(2, 1)
    worse = replace(GOOD, contrast=0.1)
    gallery = choose(rows, logits("bedroom", "bedroom"), [worse, GOOD])
    assert chosen(gallery) == [1]
    assert gallery.left_out[0].duplicate_of == 1


def test_groups_do_not_grow_along_chains() -> None:
    angles = np.radians([0, 15, 30])  # neighbours have a cosine of 0.966, the ends of 0.866
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    (group,) = group_near_duplicates(rows, [0, 1, 2])
    assert (group.best, group.others) == (0, (1,))


@pytest.mark.parametrize(
    ("quality", "reason"), [(DARK, "too_dark"), (BLURRED, "blurred"), (TEXT, "text_heavy")]
)
def test_flawed_photo_is_left_out_with_reason(quality: Quality, reason: str) -> None:
    gallery = choose(embeddings(2), logits("building", "bedroom"), [quality, GOOD], count=2)
    assert chosen(gallery) == [1]
    assert [each.reason for each in gallery.left_out] == [reason]


def test_flawed_photo_does_not_stand_for_usable_copy() -> None:
    rows = embeddings(1).repeat(2, 1)
    gallery = choose(rows, logits("bedroom", "bedroom"), [DARK, GOOD])
    assert chosen(gallery) == [1]


def test_only_flawed_photos_give_empty_gallery() -> None:
    gallery = choose(embeddings(2), logits("bedroom", "beach"), [DARK, TEXT])
    assert not gallery.choices
    assert [each.reason for each in gallery.left_out] == ["too_dark", "text_heavy"]


def test_every_photo_is_chosen_or_left_out() -> None:
    rows = torch.cat([embeddings(6), embeddings(1)])
    gallery = choose(rows, logits(*ROOMS, "kitchen"), [*[GOOD] * 5, DARK, GOOD], count=3)
    left_out = [each.photo for each in gallery.left_out]
    assert len(gallery.choices) == 3
    assert sorted([*chosen(gallery), *left_out]) == list(range(7))


def test_reason_names_new_labels_only() -> None:
    gallery = choose(embeddings(3), logits("building", "building", "bedroom"), [GOOD] * 3)
    first, second, third = gallery.choices
    assert first.new_categories == ("Property",)
    assert first.reason.startswith("first to show Property: Building 0.98")
    assert second.new_categories == ("Room",)
    assert third.new_labels == ()
    assert third.reason.startswith("no new label")


def test_labels_below_threshold_do_not_count() -> None:
    scores = logits("bedroom") - 4.5
    assert choose(embeddings(1), scores, [GOOD]).choices[0].new_labels == ()


def test_bathroom_does_not_cover_rooms() -> None:
    scores = logits("bathroom")
    scores[0, LABELS.index("room")] = 4.0
    (choice,) = choose(embeddings(1), scores, [GOOD]).choices
    assert choice.new_categories == ("Bathroom",)


def test_gains_never_increase() -> None:
    generator = np.random.default_rng(1)
    rows = embeddings(40, seed=2).numpy()
    confidences = np.where(generator.random((40, 12)) < 0.2, 0.9, 0).astype(np.float32)
    categories = np.kron(np.eye(3), np.ones((4, 1))).astype(np.float32) / np.float32(3)
    qualities = generator.random(40).astype(np.float32)
    picks = pick_photos(rows @ rows.T, confidences, categories, qualities, 40)
    gains = [pick.gain.total for pick in picks]
    assert len({pick.photo for pick in picks}) == 40
    assert all(later <= earlier + 1e-6 for earlier, later in pairwise(gains))


def test_weight_of_category_decides_first_photo() -> None:
    rows, scores = embeddings(6), logits(*ROOMS)
    gallery = choose(rows, scores, [GOOD] * 6, weights={"Facilities and services": 9.0})
    assert ROOMS[gallery.choices[0].photo] == "swimming_pool"


def test_zero_weights_leave_variety_and_quality() -> None:
    weights = dict.fromkeys(LABELS.categories, 0.0)
    gallery = choose(embeddings(6), logits(*ROOMS), [GOOD] * 6, weights=weights)
    assert {choice.gain.coverage for choice in gallery.choices} == {0.0}


def test_unknown_category_is_refused_with_nearest_name() -> None:
    with pytest.raises(OptionError, match="did you mean Property"):
        category_weights(LABELS, {"Propety": 1.0})


@pytest.mark.parametrize(("asked", "photos", "expected"), [(None, 4, 4), (None, 30, 10), (3, 4, 3)])
def test_count_is_as_asked_or_up_to_ten(asked: int | None, photos: int, expected: int) -> None:
    assert check_count(asked, photos) == expected


def test_count_above_photos_is_refused() -> None:
    with pytest.raises(OptionError, match="count: 5 of 4 photos; ask for at most 4"):
        check_count(5, 4)


def test_listing_above_limit_is_refused() -> None:
    with pytest.raises(OptionError, match="at most 5000"):
        check_count(None, 5001)
