"""`mumic labels`: the same labels as over HTTP, and known photos."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from app.core.checkpoint import known_photos, read_checkpoint
from tests.support.command import Run
from tests.support.new_labels import coloured, write_known
from tests.support.reloading import HEADERS, reloadable
from tests.support.requests import multipart

Mumic = Callable[..., Run]
REDS = [coloured((220, 20, 20), seed) for seed in range(4)]


@pytest.fixture
def known(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A checkpoint with known photos."""
    return write_known(tiny_checkpoint, tmp_path / "known")


@pytest.fixture
def examples(tmp_path: Path) -> list[str]:
    """The options that name four red photos."""
    options = []
    for place, data in enumerate(REDS):
        (tmp_path / f"{place}.jpg").write_bytes(data)
        options += ["--example", str(tmp_path / f"{place}.jpg")]
    return options


def test_added_label_equals_that_of_server(
    run: Mumic, known: Path, examples: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = run("labels", "add", known, "--name", "Red wall", *examples, "--out", out)
    assert result.code == 0, result.err
    printed = json.loads(result.out)
    with reloadable(known, labels_dir=tmp_path / "versions") as client:
        answer = client.post("/labels", headers=HEADERS, **multipart(*REDS, name="Red wall")).json()
        document = client.get("/labels/red_wall").json()
    assert printed["model"] == answer["model"]
    for each in (printed, answer):
        del each["label"]["added"]["at"]
    assert printed["label"]["calibration"] == pytest.approx(
        answer["label"].pop("calibration"), rel=1e-3
    )
    del printed["label"]["calibration"]
    assert printed["label"] == answer["label"]
    exported = json.loads(run("labels", "export", out, "red_wall").out)
    assert exported["fitted"]["embedding"] == pytest.approx(
        document["fitted"]["embedding"], abs=1e-3
    )


def test_label_is_listed_imported_and_removed(
    run: Mumic, known: Path, examples: list[str], tmp_path: Path
) -> None:
    out, file, second = tmp_path / "out", tmp_path / "red.json", tmp_path / "second"
    by = ("--author", "Ada")
    run("labels", "add", known, "--name", "Red wall", *examples, *by, "--out", out)
    assert "red_wall\tCustom\t0.500\tadded 20" in run("labels", "list", out).out
    assert "by Ada, 4 examples" in run("labels", "list", out).out
    listed = json.loads(run("labels", "list", out, "--json").out)
    assert listed["labels"][-1]["id"] == "red_wall"
    file.write_text(run("labels", "export", out, "red_wall").out)
    assert run("labels", "import", known, file, "--out", second).code == 0
    ids = (read_checkpoint(each).labels.ids for each in (out, second))
    assert next(ids) == next(ids)
    assert run("labels", "remove", second, "red_wall", "--out", second).code == 0
    assert read_checkpoint(second).labels.labels == read_checkpoint(known).labels.labels
    assert not (second / "class_embeddings.safetensors").exists()
    removed = run("labels", "remove", second, "sauna", "--out", second)
    assert (removed.code, "was not added" in removed.err) == (2, True)


def test_unusable_and_missing_examples_are_named(run: Mumic, known: Path, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no photo")
    for name, problem in (("text.jpg", "not"), ("none.jpg", "No such file")):
        path = tmp_path / name
        result = run(
            *("labels", "add", known, "--name", "X"), "--example", path, "--out", tmp_path / "out"
        )
        assert (result.code, name in result.err, problem in result.err) == (2, True, True)
    assert not (tmp_path / "out").exists()


def test_known_photos_are_stored_without_names(
    run: Mumic, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    rows = ["file,part,positive,negative"]
    for place, part in enumerate(["train", "validation", "validation", "validation"]):
        (photos / f"secret{place}.png").write_bytes(coloured((place, 99, 99)))
        rows.append(f"secret{place}.png,{part},sauna,gym")
    (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n")
    result = run(
        *("labels", "known-photos", tiny_checkpoint, "--manifest", tmp_path / "manifest.csv"),
        *("--photos", photos, "--out", tmp_path / "out", "--count", "2"),
    )
    assert result.code == 0, result.err
    known = known_photos(read_checkpoint(tmp_path / "out"))
    assert known is not None
    assert known.embeddings.shape == (2, 32)
    assert known.targets["sauna"].tolist() == [1, 1]
    assert known.targets["gym"].tolist() == [0, 0]
    assert b"secret" not in (tmp_path / "out" / "known_photos.safetensors").read_bytes()
