"""`mumic atlas`: the folder's map as one HTML file, and its errors."""

import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Run
from tests.support.photos import write_small_photos
from tests.support.requests import truncated

Mumic = Callable[..., Run]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two photos, one of them in an inner folder."""
    folder = tmp_path / "holiday <b>"
    (folder / "inner").mkdir(parents=True)
    first, _ = write_small_photos(folder)
    first.rename(folder / "inner" / "cat.jpg")
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "maps" / "atlas.html"


@pytest.fixture
def run(run: Mumic, out: Path) -> Mumic:
    """`mumic atlas ARGUMENTS... --out OUT`."""
    return partial(run, "atlas", "--out", out)


def photos(out: Path) -> list[dict[str, Any]]:
    page = out.read_text(encoding="utf-8")
    data = page.partition('id="data">')[2].partition("</script>")[0]
    found: list[dict[str, Any]] = json.loads(data)["photos"]
    return found


def test_atlas_maps_photos_of_folder(run: Mumic, folder: Path, out: Path) -> None:
    ran = run(folder)
    assert (ran.code, ran.out) == (0, "")
    assert [photo["id"] for photo in photos(out)] == ["coffee.jpg", "inner/cat.jpg"]
    assert all(photo["thumbnail"] for photo in photos(out))
    assert "<title>Photos of holiday &lt;b&gt;</title>" in out.read_text(encoding="utf-8")


def test_atlas_without_thumbnails_has_none(run: Mumic, folder: Path, out: Path) -> None:
    assert run(folder, "--thumbnail-px", "0").code == 0
    assert [photo["thumbnail"] for photo in photos(out)] == [0, 0]
    assert 'id="thumbnails"></script>' in out.read_text(encoding="utf-8")


def test_unusable_photo_is_reported_and_left_out(run: Mumic, folder: Path, out: Path) -> None:
    (folder / "cut.jpg").write_bytes(truncated())
    ran = run(folder)
    assert ran.code == 1
    assert "cut.jpg: the JPEG image is truncated" in ran.err
    assert "1 of 3 photos cannot be used" in ran.err
    assert len(photos(out)) == 2


def test_name_that_is_not_utf8_is_escaped(run: Mumic, folder: Path, out: Path) -> None:
    (folder / "coffee.jpg").rename(folder / os.fsdecode(b"caf\xe9.jpg"))
    assert run(folder).code == 0
    assert photos(out)[0]["id"] == r"caf\xe9.jpg"


def test_folder_without_photos_is_reported(run: Mumic, tmp_path: Path, out: Path) -> None:
    (tmp_path / "empty").mkdir()
    ran = run(tmp_path / "empty")
    assert ran.code == 1
    assert "no photo was found" in ran.err
    assert not out.exists()


def test_folder_without_usable_photo_keeps_old_map(run: Mumic, folder: Path, out: Path) -> None:
    out.parent.mkdir()
    out.write_text("old", encoding="utf-8")
    for photo in list(folder.rglob("*.jpg")):
        photo.write_bytes(truncated())
    ran = run(folder)
    assert ran.code == 1
    assert "2 of 2 photos cannot be used" in ran.err
    assert out.read_text(encoding="utf-8") == "old"


def test_file_instead_of_folder_is_refused(run: Mumic, folder: Path) -> None:
    ran = run(folder / "coffee.jpg")
    assert (ran.code, "is not a folder" in ran.err) == (2, True)


def test_folder_as_output_is_refused(run: Mumic, folder: Path) -> None:
    ran = run(folder, "--out", folder)
    assert ran.code == 2
    assert "is a folder; name an HTML file" in ran.err


def test_unwritable_output_is_refused_before_loading(run: Mumic, folder: Path, out: Path) -> None:
    out.parent.write_text("a file", encoding="utf-8")
    ran = run(folder, "--checkpoint", "missing")
    assert ran.code == 1
    assert "no photo was read" in ran.err


def test_missing_extra_is_named(run: Mumic, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("app.applications.atlas")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "openTSNE", None)
    ran = run(folder, "--checkpoint", "missing")
    assert (ran.code, ran.err) == (1, "mumic: openTSNE is missing; pip install 'mumic[atlas]'\n")
