"""Photos are found by names as tables spell them, and messages name the file that is there."""

import os
import unicodedata
from pathlib import Path

import pytest

from app.dataset.manifest import PhotoFolder, same_photo_key
from app.errors import DataError

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "été/café.jpg") for form in ("NFC", "NFD"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for file in (DECOMPOSED, "Rooms/1.JPG", "a b.jpg", "001.png"):
        (tmp_path / "photos" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / file).touch()
    return tmp_path / "photos"


@pytest.mark.parametrize(
    ("name", "file"),
    [
        (DECOMPOSED, DECOMPOSED),
        (COMPOSED, DECOMPOSED),
        ("./a b.jpg", "a b.jpg"),
        (" a b.jpg\n", "a b.jpg"),
        ("Rooms\\1.JPG", "Rooms/1.JPG"),
        (".\\Rooms\\1.JPG", "Rooms/1.JPG"),
        ("{root}/Rooms/1.JPG", "Rooms/1.JPG"),
    ],
)
def test_photo_is_found_by_other_spelling(root: Path, name: str, file: str) -> None:
    assert PhotoFolder(root).find(name.replace("{root}", str(root)), "row 2") == file


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (" ", "row 2: is empty"),
        ("rooms/1.jpg", r"; Rooms/1\.JPG is there, which differs in upper and lower case"),
        ("photos/Rooms/1.JPG", r"; Rooms/1\.JPG is there: names are relative to"),
        ("001", r"; 001\.png is there: write the ending too"),
        ("Rooms", "; Rooms is a folder"),
        ("01.png", r"; nearest there: 001\.png"),
        ("caf\ufffd.jpg", "replacement character U+FFFD".replace("+", r"\+")),
        ("../x.jpg", "is not below the photo folder"),
        ("C:\\pictures\\Rooms\\1.JPG", r"is not below .*; Rooms/1\.JPG is there"),
        ("/elsewhere/a b.jpg", r"is not below .*; a b\.jpg is there"),
    ],
)
def test_missing_photo_is_reported_with_similar_file(root: Path, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        PhotoFolder(root).find(name, "row 2")


def test_exact_name_wins_and_two_equal_names_are_refused(root: Path) -> None:
    forms = ["\u212b.jpg", "A\u030a.jpg"]  # Angstrom sign, A with ring; both are \u00c5 in NFC
    for name in forms:
        (root / name).touch()
    folder = PhotoFolder(root)
    assert [folder.find(name, "row 2") for name in forms] == forms
    with pytest.raises(DataError, match="is the name of 2 photos that differ in Unicode normal"):
        folder.find("\u00c5.jpg", "row 2")


def test_name_that_is_not_utf8_is_reported_with_remedy(root: Path) -> None:
    (root / os.fsdecode("gar\xe7on.jpg".encode("latin-1"))).touch()
    with pytest.raises(DataError, match=r"its name is not UTF-8 \(gar\\xe7on\.jpg\): rename"):
        PhotoFolder(root).find("garçon.jpg", "row 2")


def test_missing_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no: is not a folder"):
        PhotoFolder(tmp_path / "no")


def test_keys_of_one_photo_are_equal() -> None:
    assert same_photo_key(f".\\{COMPOSED}".replace("/", "\\")) == same_photo_key(DECOMPOSED)
