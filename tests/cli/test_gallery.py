"""`mumic gallery`: the folder's gallery as JSON and as a contact sheet, and its errors."""

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.support.command import Run
from tests.support.photos import encoded, sample
from tests.support.requests import photo, truncated

Mumic = Callable[..., Run]


@pytest.fixture
def listing(tmp_path: Path) -> Path:
    """A folder with a photo, its copy, another photo, a dark one and a truncated one."""
    folder = tmp_path / "a listing & more"
    folder.mkdir()
    dark = encoded(sample("coffee").point(lambda value: int(0.1 * value)), "JPEG")
    contents = {
        "cat.jpg": photo(),
        "cat again.jpg": photo(),
        "temple.jpg": photo("china"),
        "night.jpg": dark,
        "cut.jpg": truncated(),
    }
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture
def run(run: Mumic, tmp_path: Path) -> Mumic:
    """`mumic gallery ARGUMENTS... --out OUT`."""
    return partial(run, "gallery", "--out", tmp_path / "out")


def test_gallery_writes_answer_and_contact_sheet(run: Mumic, listing: Path, tmp_path: Path) -> None:
    ran = run(listing, "--count", "2")
    assert ran.code == 1  # one photo is truncated
    assert "cut.jpg: the JPEG image is truncated" in ran.err
    body = json.loads((tmp_path / "out" / "gallery.json").read_bytes())
    assert list(body) == ["model", "photos", "left_out", "duplicates", "results"]
    assert [result["status"] for result in body["results"]].count("error") == 1
    reasons = {Path(each["id"]).name: each["reason"] for each in body["left_out"]}
    assert reasons["night.jpg"] == "too_dark"
    assert "duplicate" in reasons.values()
    chosen = [each["id"] for each in body["photos"]]
    lines = [line.split("\t") for line in ran.out.splitlines()]
    assert [(place, id) for place, id, _ in lines] == [
        (str(place), id) for place, id in enumerate(chosen, 1)
    ]
    page = (tmp_path / "out" / "gallery.html").read_text(encoding="utf-8")
    assert page.count('<img src="data:image/jpeg;base64,') == len(chosen) + 4
    assert not re.findall(r"https?://", page)
    assert "a listing &amp; more" in page and "a listing & more" not in page


def test_gallery_is_deterministic(run: Mumic, listing: Path, tmp_path: Path) -> None:
    (listing / "cut.jpg").unlink()
    written = []
    for _ in range(2):
        assert run(listing).code == 0
        written.append([path.read_bytes() for path in sorted((tmp_path / "out").iterdir())])
    assert written[0] == written[1]


def test_count_above_photos_is_refused_before_loading(run: Mumic, listing: Path) -> None:
    ran = run(listing, "--count", "6", "--checkpoint", "missing")
    assert (ran.code, ran.err) == (2, "mumic: count: 6 of 5 photos; ask for at most 5\n")


@pytest.mark.parametrize("weight", ["Room", "Room=-1", "Room=many", "=2"])
def test_invalid_weight_is_refused(run: Mumic, listing: Path, weight: str) -> None:
    ran = run(listing, "--weight", weight)
    assert ran.code == 2
    assert "weight: must be CATEGORY=NUMBER with a number from 0 to 100" in ran.err


def test_unknown_category_is_refused(run: Mumic, listing: Path) -> None:
    ran = run(listing, "--weight", "Rooms=2")
    assert ran.code == 2
    assert "did you mean Room" in ran.err


def test_folder_without_photos_is_reported(run: Mumic, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    ran = run(tmp_path / "empty")
    assert (ran.code, ran.out) == (1, "")
    assert "no photo was found" in ran.err


def test_file_instead_of_folder_is_refused(run: Mumic, listing: Path) -> None:
    ran = run(listing / "cat.jpg")
    assert ran.code == 2
    assert "is not a folder" in ran.err


def test_folder_without_usable_photo_is_reported(run: Mumic, listing: Path, tmp_path: Path) -> None:
    for name in ("cat.jpg", "cat again.jpg", "temple.jpg"):
        (listing / name).unlink()
    ran = run(listing)
    assert ran.code == 1
    assert "no photo can be used" in ran.err
    assert "night.jpg: too dark" in ran.err
    assert "cut.jpg: " in ran.err
    assert not (tmp_path / "out").exists()
