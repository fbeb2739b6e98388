"""`mumic compare`: checkpoints, CLIP's ways to score and ASL classifiers side by side."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from rich.progress import Progress
from torch import nn

from app.baselines.asl import write_asl
from app.baselines.clip import checkpoint_scores
from app.baselines.compare import compare
from app.baselines.contestants import Contestant, Scored, parse_contestants
from app.baselines.tables import as_json, as_markdown
from app.core.checkpoint import Checkpoint, load_model
from app.core.classifier import BACKGROUND_PROMPT, Classifier
from app.errors import OptionError
from tests.command import Run, mumic
from tests.training_set import CONFIG, LABELS, NAMES, write_init, write_manifest, write_photos


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return write_init(tmp_path_factory.mktemp("checkpoints") / "tiny")


@pytest.fixture(scope="module")
def asl(tmp_path_factory: pytest.TempPathFactory, checkpoint: Checkpoint) -> Path:
    directory = tmp_path_factory.mktemp("classifiers") / "asl"
    torch.manual_seed(1)
    write_asl(
        directory,
        load_model(checkpoint.directory).clip.visual,
        nn.Linear(16, 3),
        CONFIG,
        names=["flower", "dog", "cat"],
        exif_orientation=True,
        training={},
        metrics={},
    )
    return directory


@pytest.fixture
def names(tmp_path: Path) -> Path:
    path = tmp_path / "names.yaml"
    kept = {key: NAMES[key].model_dump(mode="json") for key in ("cat", "dog", "flower")}
    path.write_text(yaml.safe_dump({"names": kept}))
    return path


MANIFEST = """\
cat.png,train,cat,dog|flower
cat2.png,validation,cat,flower
flower2.png,validation,flower,cat
coffee.png,validation,,cat|flower|dog
"""


def test_the_three_scorings_are_those_of_the_paper(checkpoint: Checkpoint, photos: Path) -> None:
    classifier = Classifier.load(checkpoint.directory, device="cpu", precision="fp32")
    texts = ["a photo with cat", "a photo with flowers", "a photo with temple"]
    with Progress(disable=True) as progress:
        scores = checkpoint_scores(
            classifier,
            texts,
            [photos / "cat.png", photos / "flower.png"],
            ["sigmoid", "softmax", "pair"],
            progress=progress,
        )
    odds = scores["sigmoid"] / (1 - scores["sigmoid"])
    torch.testing.assert_close(scores["softmax"], odds / odds.sum(dim=1, keepdim=True))
    with Progress(disable=True) as progress:
        silent = checkpoint_scores(
            classifier,
            [BACKGROUND_PROMPT],
            [photos / "cat.png", photos / "flower.png"],
            ["sigmoid"],
            progress=progress,
        )["sigmoid"]
    pairs = torch.stack([odds, (silent / (1 - silent)).expand_as(odds)]).log().softmax(dim=0)[0]
    torch.testing.assert_close(scores["pair"], pairs)


def test_contestants_are_names_directories_and_scorings(tmp_path: Path) -> None:
    (tmp_path / "a:b").mkdir()
    found = parse_contestants([f"x={tmp_path}:pair", f"y={tmp_path}", f"z={tmp_path}/a:b"])
    assert found == [
        Contestant("x", tmp_path, "pair"),
        Contestant("y", tmp_path, "sigmoid"),
        Contestant("z", tmp_path / "a:b", "sigmoid"),
    ]


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        (["nothing"], "'nothing' is not NAME=DIR"),
        (["=."], "is not NAME=DIR"),
        (["a=."] * 2, "'a' comes twice"),
        (["a=missing"], "no directory missing"),
        (["a=.:pairs"], "a scoring is one of sigmoid, softmax, pair"),
    ],
)
def test_a_contestant_that_is_none_is_refused(texts: list[str], problem: str) -> None:
    with pytest.raises(OptionError, match=problem):
        parse_contestants(texts)


def scored() -> Scored:
    """40 photos; the first class is rare, the last has no positive; `fair` ranks at random."""
    targets = np.zeros((40, 3))
    targets[:4, 0] = 1
    targets[10:30, 1] = 1
    targets[::7, 1] = -1
    noise = np.random.default_rng(0).random(targets.shape)
    perfect = np.where(targets == 1, 0.9, 0.1) + noise / 100
    return Scored(["rare", "often", "never"], targets, {"perfect": perfect, "fair": noise})


def test_the_most_frequent_classes_are_a_subset_and_come_first() -> None:
    comparison = compare(scored(), top=1, resamples=200)
    assert comparison.classes == ["often", "rare", "never"]
    assert comparison.positives[1:] == [4, 0]
    assert comparison.known[1:] == [40, 40]
    assert comparison.positives[0] < 20
    everything, frequent = comparison.totals.values()
    for totals in (everything, frequent):
        for estimate in totals["perfect"].values():
            assert (estimate.value, estimate.low, estimate.high) == (1.0, 1.0, 1.0)
        for estimate in totals["fair"].values():
            assert estimate.low <= estimate.value <= estimate.high < 1
    fair = [each.value for each in comparison.average_precisions["fair"]]
    assert frequent["fair"]["macro mAP"].value == fair[0]
    assert everything["fair"]["macro mAP"].value == pytest.approx((fair[0] + fair[1]) / 2)
    assert math.isnan(fair[2])


def test_more_wanted_classes_than_there_are_is_all_of_them() -> None:
    assert len(compare(scored(), top=3, resamples=2).totals) == 1


def test_what_is_undefined_is_a_dash_and_null() -> None:
    comparison = compare(scored(), resamples=20)
    text = "".join(as_markdown(comparison))
    assert "| never | 0 | 40 | - | - |" in text
    assert "| perfect | 100.0 [100.0, 100.0] |" in text
    values = json.loads(as_json(comparison))
    assert values["average_precisions"]["fair"][2] == {"value": None, "low": None, "high": None}
    assert values["photos"] == 40


def run_compare(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    data: tuple[Path, Path, Path],
    *arguments: str,
) -> Run:
    manifest, photos, names = data
    where = ("--manifest", manifest, "--photos", photos, "--names", names, "--device", "cpu")
    return mumic(monkeypatch, capsys, "compare", *arguments, *where, "--resamples", "5")


def test_the_command_prints_every_contestant(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    photos: Path,
    names: Path,
    checkpoint: Checkpoint,
    asl: Path,
) -> None:
    data = (write_manifest(tmp_path, MANIFEST), photos, names)
    here = checkpoint.directory
    contestants = (f"CLIP={here}:pair", f"one={here}:softmax", f"MuMIC={here}", f"ASL={asl}")
    options = ("--part", "validation", "--top", "2")
    printed = run_compare(monkeypatch, capsys, data, *contestants, *options)
    assert printed.code == 0, printed.err
    assert printed.out.startswith("All 3 classes, 3 photos")
    assert "The 2 classes with most positives" in printed.out
    assert "| class | positives | known | CLIP | one | MuMIC | ASL |" in printed.out
    assert "| dog | 0 | 1 | - | - | - | - |" in printed.out
    as_data = run_compare(monkeypatch, capsys, data, *contestants, *options, "--json")
    totals = json.loads(as_data.out)["totals"]["all 3 classes"]
    assert list(totals) == ["CLIP", "one", "MuMIC", "ASL"]
    assert all(0 < values["GAP"]["value"] <= 1 for values in totals.values())


@pytest.mark.parametrize(
    ("contestants", "options", "code", "problem"),
    [
        (["ASL={asl}"], [], 2, "one of them must be a MuMIC checkpoint"),
        (["m={mumic}", "ASL={asl}:pair"], [], 2, "ASL: an ASL classifier has no texts to pair"),
        (["m={mumic}"], ["--part", "test"], 1, "no photo in the part test"),
    ],
)
def test_what_cannot_be_compared_is_said(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    photos: Path,
    names: Path,
    checkpoint: Checkpoint,
    asl: Path,
    contestants: list[str],
    options: list[str],
    code: int,
    problem: str,
) -> None:
    data = (write_manifest(tmp_path, MANIFEST), photos, names)
    given = [each.format(asl=asl, mumic=checkpoint.directory) for each in contestants]
    options = options or ["--part", "validation"]
    run = run_compare(monkeypatch, capsys, data, *given, *options)
    assert run.code == code
    assert problem in run.err
    assert run.out == ""


def test_a_class_that_a_contestant_does_not_know_is_named(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    photos: Path,
    checkpoint: Checkpoint,
    asl: Path,
) -> None:
    manifest = write_manifest(tmp_path, "cat.png,train,pets,\ncat2.png,validation,pets,temple\n")
    run = mumic(
        *(monkeypatch, capsys, "compare", f"m={checkpoint.directory}", f"ASL={asl}"),
        *("--manifest", manifest, "--photos", photos, "--part", "validation", "--device", "cpu"),
    )
    assert run.code == 2
    assert f"ASL: it was not trained on {', '.join(LABELS.ids)}" in run.err
