"""The commands of the how-to guides on data and training run on a few photos, up to serving."""

import csv
import re
import runpy
import shlex
import sys
from pathlib import Path

import httpx
import pytest

from app.core.checkpoint import read_checkpoint
from app.core.labels import builtin_label_set
from app.dataset.embeddings import read_embeddings
from app.dataset.manifest import load_names, read_manifest, read_table
from app.main import create_app, load_classifier
from app.settings import Settings
from tests.support.annotation import VOTES, write_crops
from tests.support.command import Run, mumic
from tests.support.imports import ROOT
from tests.support.tiny import live_server, write_tiny

pytestmark = pytest.mark.slow

DOCS = ROOT / "docs"
PAGE = (DOCS / "how-to" / "annotate-and-split-data.md").read_text(encoding="utf-8")
TRAIN_PAGE = (DOCS / "how-to" / "train.md").read_text(encoding="utf-8")
LABEL_SET_PAGE = (DOCS / "reference" / "label-set.md").read_text(encoding="utf-8")
FILES = 30
SMALLER = {"train": ["--epochs", "1", "--batch-size", "8"]}  # than the paper's 64 photos


def blocks(language: str, page: str = PAGE) -> list[str]:
    """The page's code in a language, block by block."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def commands(page: str = PAGE) -> list[list[str]]:
    """Every command of the page, in order."""
    text = "".join(blocks("sh", page)).replace("\\\n", " ")
    return [shlex.split(line) for line in text.splitlines()]


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str]
) -> Run:
    """Run one command of the page, in this process and on the current folder."""
    program, *arguments = command
    if program == "mumic":
        return mumic(monkeypatch, capsys, *arguments, *SMALLER.get(arguments[0], []))
    assert program == "python"
    path = ROOT / arguments[0]
    there = [str(ROOT / each) if (ROOT / each).is_file() else each for each in arguments[1:]]
    monkeypatch.setattr(sys, "argv", [str(path), *there])
    runpy.run_path(str(path), run_name="__main__")
    return Run(0, *capsys.readouterr())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the page takes for granted: photos, their properties, a checkpoint, votes."""
    files = write_crops(tmp_path / "photos", FILES)
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"no photo")
    kinds = "".join(f"{file},{'villa' if i % 3 else 'hotel'}\n" for i, file in enumerate(files))
    (tmp_path / "properties.csv").write_text("file,property_type\n" + kinds)
    (tmp_path / "hints.yaml").write_text(blocks("yaml")[0])
    saunas = {file for i, file in enumerate(files) if i % 2}
    votes = "".join(f"{file},sauna,{4 if file in saunas else 3},5\n" for file in files)
    (tmp_path / "votes.csv").write_text(VOTES + votes)
    golden = "".join(f"{f},{'sauna,' if f in saunas else ',sauna'}\n" for f in files[:24])
    (tmp_path / "golden.csv").write_text("file,positive,negative\n" + golden)
    (tmp_path / "weights").mkdir()
    write_tiny(tmp_path / "weights" / "clip")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def labels_served(checkpoint: Path, settings: Settings, photo: Path) -> set[str]:
    """What a server with the checkpoint says of a photo, whatever the thresholds."""
    directed = settings.model_copy(update={"checkpoint": checkpoint})
    app = create_app(directed, load_classifier(directed))
    with live_server(app) as url, photo.open("rb") as file:
        answer = httpx.post(
            f"{url}/predict", files={"images": file}, data={"all_scores": "true"}, timeout=30
        )
    (result,) = answer.raise_for_status().json()["results"]
    return {label["id"] for label in result["labels"]}


def test_how_to_commands_lead_to_served_checkpoint(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    client: httpx.Client,
    small_settings: Settings,
) -> None:
    runs: dict[str, Run] = {}
    shown = next(i for i, each in enumerate(commands()) if "simulate_votes" in each[1])
    for command in commands()[:shown]:
        here = [str(client.base_url).rstrip("/") if "8000" in each else each for each in command]
        ran = run(monkeypatch, capsys, here)
        assert ran.code == 0, f"{command}: {ran.err}"
        runs[next(each for each in command[1:] if each != "data")] = ran
    files, _ = read_embeddings(folder / "archive.safetensors")
    assert len(files) == FILES
    assert "broken.jpg: " in runs["recipes/archive/embed.py"].err
    picked = list(read_table(folder / "candidates.csv", ("file", "property_type", "picked_for")))
    assert {each["picked_for"] for each in picked} == {"sauna|pets"}
    assert (folder / "project" / "config.xml").is_file()
    assert re.search(r"^sauna +12 +12 .* 1\.000 1\.000\*", runs["consolidate"].out, re.MULTILINE)
    rows = read_manifest(folder / "manifest.csv", folder / "photos", builtin_label_set().ids)
    assert [row.positive for row in rows] == [frozenset(["sauna"] * (i % 2)) for i in range(FILES)]
    card = read_checkpoint(folder / "weights" / "mine").card
    assert card.training["photos"] == 24
    assert card.metrics["thresholds"]["part"] == "validation"
    assert (folder / "report" / "report.html").is_file()
    served = labels_served(
        folder / "weights" / "mine", small_settings, folder / "photos" / files[0]
    )
    assert served == set(builtin_label_set().ids)


def test_how_to_works_with_simulated_votes(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    small_settings: Settings,
) -> None:
    with (folder / "photos" / "photos.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "source", "positive"))
        scenes = ("sea", "desert", "mountains", "sunset", "trees")
        writer.writerows((f"{i:02d}.png", "miml", scenes[i % 5]) for i in range(FILES))
    shown = [command for command in commands() if "simulate_votes" in command[1]]
    at = commands().index(shown[0])
    for command in commands()[at:]:
        here = [str(ROOT / each) if each.endswith("names.yaml") else each for each in command]
        ran = run(monkeypatch, capsys, here)
        assert ran.code == 0, f"{command}: {ran.err}"
    names = load_names(ROOT / "recipes" / "demo" / "names.yaml", builtin_label_set())
    rows = read_manifest(folder / "manifest.csv", folder / "photos", names)
    right = [("sea" in row.positive) == (i % 5 == 0) for i, row in enumerate(rows)]
    assert sum(right) >= FILES - 2  # the votes are noisy, but not that noisy
    assert all(len(row.positive | row.negative) == 5 for row in rows)
    served = labels_served(
        folder / "weights" / "voted", small_settings, folder / "photos" / "00.png"
    )
    assert served == set(builtin_label_set().ids)
    first = (folder / "votes.csv").read_bytes()
    run(monkeypatch, capsys, shown[0])
    assert (folder / "votes.csv").read_bytes() == first


def test_table_and_own_label_set_lead_to_served_checkpoint(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    small_settings: Settings,
) -> None:
    """The whole path at the top of the guide, with the example of the page on label sets."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labels.yaml").write_text(blocks("yaml", LABEL_SET_PAGE)[0], encoding="utf-8")
    files = write_crops(tmp_path / "photos", FILES)
    labels = ("beach", "dog", "cat", "swimming_pool", "indoor_swimming_pool")
    rows = "".join(f"{file},{labels[i % 5]}\n" for i, file in enumerate(files))
    (tmp_path / "photos.csv").write_text("file,positive\n" + rows)
    write_tiny(tmp_path / "weights" / "mumic-demo")
    *made, served = commands(TRAIN_PAGE)
    assert served[:2] == ["mumic", "serve"]
    assert made[1][:2] == ["mumic", "import"]
    for command in made:
        ran = run(monkeypatch, capsys, command)
        assert ran.code == 0, f"{command}: {ran.err}"
    assert (tmp_path / "report" / "report.html").is_file()
    checkpoint = tmp_path / served[-1]
    assert labels_served(checkpoint, small_settings, tmp_path / "photos" / files[0]) == set(labels)
