"""`mumic compare`: scoring methods, ASL classifiers, and the tables of a comparison."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from rich.progress import Progress
from torch import nn

from app.baselines.asl.classifier import write_asl
from app.baselines.comparison import (
    Scored,
    compare,
    markdown_lines,
    metrics_of,
    parse_compared_models,
)
from app.baselines.comparison.clip_scores import checkpoint_scores
from app.baselines.comparison.compared_models import ComparedModel
from app.baselines.comparison.tables import as_json
from app.core.checkpoint import Checkpoint, load_model
from app.core.classifier import BACKGROUND_PROMPT, Classifier
from app.errors import OptionError
from app.evaluation.metrics import ScoredClass
from tests.support.command import Run, mumic
from tests.support.training_set import CONFIG, LABELS, NAMES, write_init, write_manifest


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return write_init(tmp_path_factory.mktemp("checkpoints") / "tiny")


@pytest.fixture(scope="module")
def asl(tmp_path_factory: pytest.TempPathFactory, checkpoint: Checkpoint) -> Path:
    directory = tmp_path_factory.mktemp("classifiers") / "asl"
    torch.manual_seed(1)
    write_asl(
        directory,
        load_model(checkpoint).clip.visual,
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
    names = {key: NAMES[key].model_dump(mode="json") for key in ("cat", "dog", "flower")}
    path.write_text(yaml.safe_dump({"names": names}))
    return path


MANIFEST = """\
cat.png,train,cat,dog|flower
cat2.png,validation,cat,flower
flower2.png,validation,flower,cat
coffee.png,validation,,cat|flower|dog
"""


def test_scoring_methods_match_paper(checkpoint: Checkpoint, photos: Path) -> None:
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
    logits = scores["sigmoid"]
    torch.testing.assert_close(scores["softmax"].sigmoid(), logits.softmax(dim=1))
    with Progress(disable=True) as progress:
        neutral = checkpoint_scores(
            classifier,
            [BACKGROUND_PROMPT],
            [photos / "cat.png", photos / "flower.png"],
            ["sigmoid"],
            progress=progress,
        )["sigmoid"]
    pairs = torch.stack([logits, neutral.expand_as(logits)]).softmax(dim=0)[0]
    torch.testing.assert_close(scores["pair"].sigmoid(), pairs)


def test_models_are_parsed_as_name_directory_scoring(tmp_path: Path) -> None:
    (tmp_path / "a:b").mkdir()
    found = parse_compared_models([f"x={tmp_path}:pair", f"y={tmp_path}", f"z={tmp_path}/a:b"])
    assert found == [
        ComparedModel("x", tmp_path, "pair"),
        ComparedModel("y", tmp_path, "sigmoid"),
        ComparedModel("z", tmp_path / "a:b", "sigmoid"),
    ]


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        (["nothing"], "'nothing' is not NAME=DIR"),
        (["=."], "is not NAME=DIR"),
        (["a=."] * 2, "'a' is used twice"),
        (["a=missing"], "no directory missing"),
        (["a=.:pairs"], "a scoring is one of sigmoid, softmax, pair"),
    ],
)
def test_invalid_model_is_refused(texts: list[str], problem: str) -> None:
    with pytest.raises(OptionError, match=problem):
        parse_compared_models(texts)


def scored() -> Scored:
    """40 photos; the first class is rare, the last has no positive; `fair` has random scores."""
    targets = np.zeros((40, 3))
    targets[:4, 0] = 1
    targets[10:30, 1] = 1
    targets[::7, 1] = -1
    noise = np.random.default_rng(0).random(targets.shape)
    perfect = np.where(targets == 1, 0.9, 0.1) + noise / 100
    classes = [
        ScoredClass(key, "Any", column, positives)
        for column, (key, positives) in enumerate({"rare": 4, "often": 17, "never": 0}.items())
    ]
    return Scored(classes, targets, {"perfect": perfect, "fair": noise})


def test_top_adds_subset_of_most_frequent_classes() -> None:
    measures = compare(scored(), top=1, resamples=200).measures
    for subset in measures["perfect"].subsets:
        for estimate in metrics_of(subset).values():
            assert estimate.value == 1.0
            assert all(map(math.isnan, estimate.interval))  # perfect on every draw
    everything, frequent = measures["fair"].subsets
    for subset in (everything, frequent):
        for estimate in metrics_of(subset).values():
            low, high = estimate.interval
            assert low <= estimate.value <= high < 1
    rare, often, never = (each.average_precision.value for each in measures["fair"].classes)
    assert metrics_of(frequent)["macro mAP"].value == often
    assert metrics_of(everything)["macro mAP"].value == pytest.approx((rare + often) / 2)
    assert math.isnan(never)


def test_categories_add_no_subsets() -> None:
    every = scored()
    classes = [replace(each, category=each.key) for each in every.classes]
    for top, subsets in ((None, 1), (2, 2)):
        found = compare(replace(every, classes=classes), top=top, resamples=2)
        assert all(len(measured.subsets) == subsets for measured in found.measures.values())


def test_undefined_metric_is_dash_in_markdown_and_null_in_json() -> None:
    comparison = compare(scored(), resamples=20)
    text = "".join(markdown_lines(comparison))
    assert "| never | 0 | 40 | - | - |" in text
    assert text.index("| often |") < text.index("| rare |")
    assert "| perfect | 100.0 [-, -] |" in text
    values = json.loads(as_json(comparison))
    never = values["methods"]["fair"]["classes"]["never"]
    assert never["average_precision"] == {"value": None, "low": None, "high": None}
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


def test_compare_command_prints_every_model(
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
    models = (f"CLIP={here}:pair", f"one={here}:softmax", f"MuMIC={here}", f"ASL={asl}")
    options = ("--part", "validation", "--top", "2")
    printed = run_compare(monkeypatch, capsys, data, *models, *options)
    assert printed.code == 0, printed.err
    assert printed.out.startswith("All 3 classes, 3 photos")
    assert "2 most frequent, 3 photos" in printed.out
    assert "| class | positives | of known | CLIP | one | MuMIC | ASL |" in printed.out
    assert "| dog | 0 | 1 | - | - | - | - |" in printed.out
    as_data = run_compare(monkeypatch, capsys, data, *models, *options, "--json")
    methods = json.loads(as_data.out)["methods"]
    assert list(methods) == ["CLIP", "one", "MuMIC", "ASL"]
    gaps = [values["subsets"]["all 3 classes"]["GAP"]["value"] for values in methods.values()]
    assert all(0 < value <= 1 for value in gaps)


@pytest.mark.parametrize(
    ("models", "options", "code", "problem"),
    [
        (["ASL={asl}"], [], 2, "one of them must be a MuMIC checkpoint"),
        (["m={mumic}", "ASL={asl}:pair"], [], 2, "ASL: an ASL classifier has no texts to pair"),
        (
            ["m={mumic}"],
            ["--part", "test"],
            1,
            "manifest.csv: column part: no photo is in the split test",
        ),
    ],
)
def test_invalid_comparison_is_refused(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    photos: Path,
    names: Path,
    checkpoint: Checkpoint,
    asl: Path,
    models: list[str],
    options: list[str],
    code: int,
    problem: str,
) -> None:
    data = (write_manifest(tmp_path, MANIFEST), photos, names)
    given = [each.format(asl=asl, mumic=checkpoint.directory) for each in models]
    options = options or ["--part", "validation"]
    run = run_compare(monkeypatch, capsys, data, *given, *options)
    assert run.code == code
    assert problem in run.err
    assert run.out == ""


@pytest.mark.parametrize("models", [["m={mumic}"], ["ASL={asl}", "m={mumic}"]])
def test_undecodable_photo_is_named(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    photos: Path,
    names: Path,
    checkpoint: Checkpoint,
    asl: Path,
    models: list[str],
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes((photos / "cat.png").read_bytes()[:500])
    (tmp_path / "whole.png").write_bytes((photos / "cat.png").read_bytes())
    rows = "broken.png,test,cat,dog|flower\nwhole.png,test,dog,cat\n"
    data = (write_manifest(tmp_path, rows), tmp_path, names)
    given = [each.format(asl=asl, mumic=checkpoint.directory) for each in models]
    run = run_compare(monkeypatch, capsys, data, *given, "--workers", "1")
    assert run.code == 1
    assert run.err.splitlines()[-1].startswith(f"mumic: {broken}: cannot be used")
    assert "Traceback" not in run.err


ROWS_OF_PETS = """\
cat.png,train,pets,
cat2.png,validation,pets,temple
flower.png,validation,,pets
"""


def test_class_unknown_to_asl_model_is_named(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    photos: Path,
    checkpoint: Checkpoint,
    asl: Path,
) -> None:
    manifest = write_manifest(tmp_path, ROWS_OF_PETS)
    run = mumic(
        *(monkeypatch, capsys, "compare", f"m={checkpoint.directory}", f"ASL={asl}"),
        *("--manifest", manifest, "--photos", photos, "--part", "validation", "--device", "cpu"),
    )
    assert run.code == 2
    assert f"ASL: it was not trained on {', '.join(LABELS.ids)}" in run.err
