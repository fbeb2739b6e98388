"""The embedding atlas: places of photos, and the HTML file."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from app.applications.atlas import (
    GRID,
    MappedPhoto,
    default_thumbnail_px,
    place_photos,
    write_atlas,
)
from app.core.labels import Tag, builtin_label_set

HOSTILE_IDS = [
    "<img src=x onerror=alert(1)>.jpg",
    "</script><b>.jpg",
    '"it\'s" & $data.jpg',
    "日本.jpg",
]


def embeddings(count: int, groups: int = 2, seed: int = 0) -> NDArray[np.float32]:
    """Unit rows in groups: photo i is of group i % groups."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(groups, 16))
    rows = centres[np.arange(count) % groups] + 0.2 * generator.normal(size=(count, 16))
    unit: NDArray[np.float32] = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("f4")
    return unit


def tags(*ids: str) -> list[Tag]:
    by_id = {label.id: label for label in builtin_label_set().labels}
    return [Tag(by_id[id], 0.987 - 0.1 * place, 0.5) for place, id in enumerate(ids)]


class Elements(HTMLParser):
    """The tags of a page with their attributes, and the text of scripts by id."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags:  # not the line end after the doctype
            tag, attributes = self.tags[-1]
            self.texts.setdefault(attributes.get("id") or tag, data)


def written(path: Path, photos: list[MappedPhoto], title: str = "Photos") -> str:
    write_atlas(path, title, "tiny 1", photos, place_photos(embeddings(len(photos))))
    return path.read_text(encoding="utf-8")


def test_groups_of_similar_photos_are_apart() -> None:
    places = place_photos(embeddings(60)).astype(float)
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    nearest = distances.argmin(axis=1)
    assert (nearest % 2 == np.arange(60) % 2).all()


def test_layout_is_deterministic_and_spans_grid() -> None:
    first, second = place_photos(embeddings(40)), place_photos(embeddings(40))
    assert (first == second).all()
    assert first.dtype == np.uint16
    assert np.ptp(first.astype(int), axis=0).max() == GRID


@pytest.mark.parametrize("count", [1, 2, 3, 5, 9, 10])
def test_few_photos_have_places_of_their_own(count: int) -> None:
    places = place_photos(embeddings(count, groups=1))
    assert len(np.unique(places, axis=0)) == count


@pytest.mark.parametrize("count", [2, 5, 30])
def test_copies_of_one_photo_are_placed_side_by_side(count: int) -> None:
    places = place_photos(np.repeat(embeddings(1), count, axis=0)).astype(int)
    assert len(np.unique(places, axis=0)) == count
    assert np.abs(places - GRID / 2).max() < 20


def test_copies_among_other_photos_are_near_their_group() -> None:
    rows = embeddings(40, groups=5)
    rows[1:8] = rows[0]
    places = place_photos(rows).astype(float)
    assert np.isfinite(places).all()
    distances = np.linalg.norm(places - places[0], axis=1)
    group = {*range(8), *range(0, 40, 5)}
    assert set(distances.argsort()[: len(group)].tolist()) == group


@pytest.mark.parametrize(
    ("photos", "side_px"), [(1, 256), (10_000, 192), (50_000, 64), (10**6, 64)]
)
def test_default_thumbnails_get_smaller_with_more_photos(photos: int, side_px: int) -> None:
    assert default_thumbnail_px(photos) == side_px


def test_page_holds_photos_labels_and_places(tmp_path: Path) -> None:
    photos = [
        MappedPhoto("a.jpg", tags("swimming_pool", "beach"), b"first"),
        MappedPhoto("b.jpg", [], b""),
    ]
    page = Elements(written(tmp_path / "atlas.html", photos))
    data = json.loads(page.texts["data"])
    assert [each["name"] for each in data["labels"]] == ["Swimming pool", "Beach"]
    categories = [data["categories"][each["category"]] for each in data["labels"]]
    assert categories == [tag.label.category for tag in photos[0].tags]
    assert data["photos"] == [
        {"id": "a.jpg", "tags": [0, 99, 1, 89], "thumbnail": 8},
        {"id": "b.jpg", "tags": [], "thumbnail": 0},
    ]
    assert page.texts["thumbnails"] == "Zmlyc3Q="


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    plain = Elements(written(tmp_path / "plain.html", [MappedPhoto("a.jpg", [], b"")] * 4))
    photos = [MappedPhoto(id, [], b"") for id in HOSTILE_IDS]
    title = "</title><script>alert(1)</script>"
    hostile = Elements(written(tmp_path / "hostile.html", photos, title))
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in plain.tags]
    assert [each["id"] for each in json.loads(hostile.texts["data"])["photos"]] == HOSTILE_IDS
    assert hostile.texts["title"] == title


def test_label_name_cannot_end_script(tmp_path: Path) -> None:
    (tag,) = tags("beach")
    label = tag.label.model_copy(update={"name": "</script><img src=x>"})
    page = written(tmp_path / "a.html", [MappedPhoto("a.jpg", [replace(tag, label=label)], b"")])
    assert "<img" not in page


def test_file_refers_to_nothing_outside(tmp_path: Path) -> None:
    page = written(tmp_path / "atlas.html", [MappedPhoto("a.jpg", tags("beach"), b"x")])
    assert re.findall(r"https?:|//\w+\.", page) == []
    assert re.findall(r"^(?:import|export)\b", page, re.MULTILINE) == []
    policy = next(
        attributes["content"]
        for tag, attributes in Elements(page).tags
        if tag == "meta" and "http-equiv" in attributes
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


def test_same_photos_give_same_bytes(tmp_path: Path) -> None:
    photos = [MappedPhoto(f"{place}.jpg", tags("beach"), b"x") for place in range(12)]
    assert written(tmp_path / "a.html", photos) == written(tmp_path / "b.html", photos)
