"""Nearest neighbours, near-duplicates and label filters, on embeddings made for the test."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.applications.similarity import (
    DUPLICATE_SIMILARITY,
    group_near_duplicates,
    make_label_filter,
    nearest_neighbours,
)
from app.core.labels import Label, LabelSet, Thresholds
from app.errors import OptionError

Rows = NDArray[np.float32]
LABELS = LabelSet(
    version="1",
    labels=tuple(
        Label(
            id=id,
            name=id,
            description=f"the {id}",
            category=category,
            thresholds=Thresholds(serve=None if id == "spa" else 0.5),
        )
        for id, category in [("pool", "Water"), ("sea", "Water"), ("spa", "Water"), ("bed", "Room")]
    ),
)


def unit_rows(rows: int, seed: int = 0, dimension: int = 4) -> Rows:
    values = np.random.default_rng(seed).normal(size=(rows, dimension)).astype(np.float32)
    unit: Rows = values / np.linalg.norm(values, axis=1, keepdims=True)
    return unit


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a few rows, so that results meet across blocks."""
    monkeypatch.setattr("app.applications.similarity.nearest.BLOCK_VALUES", 20)
    monkeypatch.setattr("app.applications.similarity.duplicates.BLOCK_ROWS", 4)
    monkeypatch.setattr("app.applications.similarity.duplicates.TILE_ROWS", 3)


def naive_neighbours(rows: Rows, query: Rows, count: int) -> list[int]:
    similarities = np.round(rows @ query, 6)
    return sorted(range(len(rows)), key=lambda row: (-similarities[row], row))[:count]


@pytest.mark.parametrize("count", [1, 3, 12, 40])
def test_neighbours_equal_sorting_all_rows(count: int) -> None:
    rows, queries = unit_rows(33), unit_rows(4, seed=1)
    found = nearest_neighbours(rows, queries, count)
    assert [each.rows.tolist() for each in found] == [
        naive_neighbours(rows, query, count) for query in queries
    ]
    assert found[0].similarities == pytest.approx(rows[found[0].rows] @ queries[0], abs=1e-6)


def test_equal_rows_are_ordered_by_position() -> None:
    rows = np.repeat(unit_rows(2), 9, axis=0)[[*range(0, 18, 2), *range(1, 18, 2)]]
    (found,) = nearest_neighbours(rows, rows[:1], 6)
    equal = [row for row in range(18) if (rows[row] == rows[0]).all()]
    assert found.rows.tolist() == equal[:6]


def test_unusable_and_dissimilar_rows_are_left_out() -> None:
    rows = unit_rows(20)
    usable = np.arange(20) % 2 == 0
    (found,) = nearest_neighbours(rows, rows[:1], 20, usable=usable, min_similarity=0.2)
    expected = [row for row in naive_neighbours(rows, rows[0], 20) if row % 2 == 0]
    assert found.rows.tolist() == [row for row in expected if rows[row] @ rows[0] >= 0.2]
    (nothing,) = nearest_neighbours(rows, rows[:1], 3, usable=np.zeros(20, bool))
    assert nothing.rows.size == nothing.similarities.size == 0


def naive_groups(rows: Rows, best_first: list[int]) -> dict[int, list[int]]:
    free, groups = set(best_first), {}
    for best in best_first:
        if best in free:
            free.remove(best)
            others = [row for row in sorted(free) if rows[row] @ rows[best] >= DUPLICATE_SIMILARITY]
            free -= set(others)
            if others:
                groups[best] = others
    return groups


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_groups_equal_comparison_of_all_pairs(seed: int, count: int) -> None:
    rows = unit_rows(count, seed, dimension=2)  # many near-duplicates
    best_first = np.random.default_rng(seed).permutation(count).tolist()
    groups = group_near_duplicates(rows, best_first)
    assert {group.best: list(group.others) for group in groups} == naive_groups(rows, best_first)
    assert [group.best for group in groups] == sorted(group.best for group in groups)
    for group in groups:
        expected = rows[list(group.others)] @ rows[group.best]
        assert group.similarities == pytest.approx(expected, abs=1e-5)


def test_equal_photos_are_one_group() -> None:
    (group,) = group_near_duplicates(np.repeat(unit_rows(1), 30, axis=0), [*range(29, -1, -1)])
    assert (group.best, group.others) == (29, tuple(range(29)))


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({}, [0, 1, 2, 3]),
        ({"include_labels": ["pool"]}, [0, 3]),
        ({"include_labels": ["pool", "bed"]}, [0, 2, 3]),
        ({"include_categories": ["Water"]}, [0, 1, 3]),
        ({"include_categories": ["Room"], "include_labels": ["sea"]}, [1, 2, 3]),
        ({"exclude_labels": ["pool"]}, [1, 2]),
        ({"include_categories": ["Water"], "exclude_categories": ["Room"]}, [0, 1]),
    ],
)
def test_filter_keeps_photos_by_their_labels(
    options: dict[str, list[str]], kept: list[int]
) -> None:
    shown = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [1, 0, 0, 1]], bool)
    keep = make_label_filter(LABELS, **options)
    assert np.flatnonzero(keep(shown)).tolist() == kept
    assert keep.keeps_all == (not options)


@pytest.mark.parametrize("side", ["include", "exclude"])
@pytest.mark.parametrize("name", ["labels", "categories"])
def test_unknown_names_are_refused_with_nearest(side: str, name: str) -> None:
    wrong, right = ("pol", "pool") if name == "labels" else ("Watr", "Water")
    with pytest.raises(OptionError, match=f"{side}_{name}: .*did you mean {right}"):
        make_label_filter(LABELS, **{f"{side}_{name}": [wrong]})


def test_label_that_is_not_served_is_refused() -> None:
    with pytest.raises(OptionError, match=r"'spa' is not served by default \(serve: null\)"):
        make_label_filter(LABELS, include_labels=["spa"])
