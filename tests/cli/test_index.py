"""`mumic index`, `mumic similar` and `mumic duplicates` on real photos, and their errors."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.command import Run
from tests.support.requests import photo, truncated

Mumic = Callable[..., Run]


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of photos, and the place of its index."""
    folder = tmp_path_factory.mktemp("indexed")
    (folder / "photos" / "it's inner").mkdir(parents=True)
    for name, data in {
        "cat.jpg": photo(),
        "temple.jpg": photo("china"),
        "it's inner/large cat.jpg": photo(side_px=450),
    }.items():
        (folder / "photos" / name).write_bytes(data)
    return folder


@pytest.fixture
def index(run: Mumic, indexed: Path) -> Path:
    """The index, which the first test makes."""
    if not (indexed / "index").exists():
        ran = run("index", indexed / "photos", "--out", indexed / "index")
        assert (ran.code, ran.out) == (0, ""), ran.err
        assert "3 added, 0 updated, 0 renamed, 0 removed, 0 unchanged, 0 failed" in ran.err
    return indexed / "index"


def test_index_follows_folder(run: Mumic, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(photo())
    (folder / "b.jpg").write_bytes(photo("china"))
    (folder / "c.jpg").write_bytes(photo("coffee"))
    (folder / "cut.jpg").write_bytes(truncated())
    ran = run("index", folder, "--out", tmp_path / "index")
    assert ran.code == 1
    assert f"{folder}/cut.jpg: the JPEG image is truncated" in ran.err
    assert "1 of 4 photos cannot be used" in ran.err
    assert "3 added, 0 updated, 0 renamed, 0 removed, 0 unchanged, 1 failed" in ran.err
    (folder / "cut.jpg").unlink()
    (folder / "a.jpg").rename(folder / "renamed.jpg")
    (folder / "b.jpg").write_bytes(photo("flower"))
    (folder / "c.jpg").unlink()
    (folder / "new.jpg").write_bytes(photo("flower", side_px=200))
    ran = run("index", folder, "--out", tmp_path / "index")
    assert ran.code == 0
    assert "1 added, 1 updated, 1 renamed, 1 removed, 0 unchanged, 0 failed" in ran.err


def test_photo_finds_similar_photos(run: Mumic, index: Path, tmp_path: Path) -> None:
    (tmp_path / "query\n.jpg").write_bytes(photo())
    ran = run("similar", tmp_path / "query\n.jpg", "--index", index, "--count", "2")
    assert ran.code == 0, ran.err
    rows = [line.split("\t") for line in ran.out.splitlines()]
    assert [row[:5] for row in rows[:1]] == [
        [f"{tmp_path}/query\\x0a.jpg", "1", "1.000", "cat.jpg", "duplicate"]
    ]
    assert [row[3] for row in rows] == ["cat.jpg", "it's inner/large cat.jpg"]
    assert all(" 0." in row[5] or " 1." in row[5] for row in rows)


def test_json_is_answer_of_similar(
    run: Mumic, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.jpg").write_bytes(photo("china"))
    (tmp_path / "b.jpg").write_bytes(truncated())
    monkeypatch.setenv("MUMIC_INDEX", str(index))
    ran = run("similar", tmp_path, "--json", "--min-similarity", "0.999")
    assert ran.code == 1
    assert "b.jpg: the JPEG image is truncated" in ran.err
    body = json.loads(ran.out)
    assert list(body) == ["model", "index", "results"]
    assert body["index"]["photos"] == 3
    found, failed = body["results"]
    assert [match["id"] for match in found["matches"]] == ["temple.jpg"]
    assert (failed["status"], failed["error"]["code"]) == ("error", "corrupt")


def test_text_finds_photos(run: Mumic, index: Path) -> None:
    ran = run("similar", "--text", "a cat", "--text", "a pool", "--index", index, "--count", "1")
    assert ran.code == 0, ran.err
    assert [line.split("\t")[:2] for line in ran.out.splitlines()] == [
        ["a cat", "1"],
        ["a pool", "1"],
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--text", "a", "photo.jpg"], "text: give either photos or --text"),
        ([], "text: give either photos or --text"),
        (["--text", "a", "--include-label", "swimming_pol"], "did you mean swimming_pool"),
        (["--text", "pool " * 60], "has 60 tokens; this checkpoint reads at most 30"),
        (["--text", "a", "--count", "101"], "less than or equal to 100"),
    ],
)
def test_invalid_calls_are_refused(
    run: Mumic, index: Path, arguments: list[str], message: str
) -> None:
    ran = run("similar", *arguments, "--index", index)
    assert ran.code == 2
    assert message in ran.err


def test_missing_index_is_reported_before_loading(run: Mumic, tmp_path: Path) -> None:
    ran = run("similar", "--text", "a")
    assert ran.code == 2
    assert "index: is missing; give --index DIRECTORY or set MUMIC_INDEX" in ran.err
    ran = run("similar", "--text", "a", "--index", tmp_path / "no", "--checkpoint", "missing")
    assert ran.code == 1
    assert "does not exist; make one with: mumic index" in ran.err


def test_duplicates_are_listed_in_groups(run: Mumic, index: Path) -> None:
    ran = run("duplicates", index)
    assert ran.code == 0
    rows = [line.split("\t") for line in ran.out.splitlines()]
    assert rows[0] == ["1", "1.000", "450x299", "it's inner/large cat.jpg"]
    assert ["1", "320x213", "cat.jpg"] in [[number, size, id] for number, _, size, id in rows]
    body = json.loads(run("duplicates", index, "--json").out)
    assert body["photos"] == 3
    assert body["duplicates"][0]["best"] == "it's inner/large cat.jpg"
    assert body["duplicates"][0]["others"][0]["similarity"] >= 0.95


def test_folder_without_photos_leaves_index_unchanged(
    run: Mumic, index: Path, tmp_path: Path
) -> None:
    ran = run("index", tmp_path, "--out", index)
    assert ran.code == 1
    assert f"no photo was found in {tmp_path}; the index is unchanged" in ran.err
    assert json.loads(run("duplicates", index, "--json").out)["photos"] == 3
    ran = run("index", tmp_path / "none", "--out", index)
    assert (ran.code, "is not a folder" in ran.err) == (2, True)


def test_missing_extra_is_named(tmp_path: Path) -> None:
    """In another process, where the module cannot be imported."""
    code = (
        "import sys; sys.modules['lancedb'] = None; sys.argv = ['mumic', 'duplicates', 'x'];"
        "from app.cli import main; main()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert ran.returncode == 1
    assert "lancedb is missing; pip install 'mumic[search]'" in ran.stderr
