"""`mumic evaluate` on a few real photos and tiny models."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

from app.core.images import ImageLimits, load_pixels
from app.core.labels import builtin_label_set
from app.evaluation.metrics import average_precision
from app.main import load_classifier
from app.settings import Settings
from tests.support.command import Run, mumic
from tests.support.tiny import write_tiny
from tests.support.training_set import (
    LABELS,
    NAMES,
    ROWS,
    data_of,
    write_init,
    write_manifest,
)

TEST_ROWS = (
    ROWS.replace("validation", "test")
    .replace("train", "test")
    .replace("coffee.png,test,dog,cat", "coffee.png,test,,cat|dog")  # no dog at all
)
LOG = "step,learning_rate,loss,logit_scale\n10,1e-5,0.7,3.652\n20,1e-5,0.6,3.653\n"
Evaluate = Callable[..., Run]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_init(tmp_path_factory.mktemp("checkpoints") / "first").directory


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("checkpoints") / "second", LABELS)


@pytest.fixture
def evaluate(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    photos: Path,
    first: Path,
) -> Evaluate:
    """Run `mumic evaluate` with default values for its required options."""
    names = tmp_path / "names.yaml"
    names.write_text(yaml.safe_dump({"names": {k: n.model_dump() for k, n in NAMES.items()}}))

    def run(rows: str = TEST_ROWS, **given: Any) -> Run:
        options = {
            "checkpoint": first,
            "manifest": write_manifest(tmp_path, rows),
            "photos": photos,
            "names": names,
            "out": tmp_path / "report",
            "resamples": 20,
            "device": "cpu",
            **given,
        }
        pairs = [
            (f"--{option.replace('_', '-')}", each)
            for option, value in options.items()
            for each in (value if isinstance(value, list) else [value])
            if each is not None
        ]
        return mumic(
            monkeypatch, capsys, "evaluate", *(str(each) for pair in pairs for each in pair)
        )

    return run


def assert_refused(ran: Run, code: int, *words: str) -> None:
    assert (ran.code, ran.out) == (code, "")
    last = ran.err.strip().splitlines()[-1]
    assert last.startswith("mumic: ")
    for word in words:
        assert word in last


@pytest.mark.slow
def test_two_checkpoints_are_reported_in_one_table(
    evaluate: Evaluate, tmp_path: Path, photos: Path, first: Path, second: Path
) -> None:
    (tmp_path / "log.csv").write_text(LOG)
    ran = evaluate(compare_with=second, log=tmp_path / "log.csv", top=2, chosen=["cat", "dog"])
    assert ran.code == 0, ran.err
    for line in ("tiny 1, test: 7 photos", "tiny 1.2.3, test", "tiny 1 minus tiny 1.2.3", "GAP@10"):
        assert line in ran.out
    for subset in ("all 4 classes", "2 most frequent", "2 chosen", "Animals", "Outside"):
        assert len(re.findall(f"^{subset} ", ran.out, re.MULTILINE)) == 3

    report = tmp_path / "report"
    page = (report / "report.html").read_text()
    assert page.count("<img") == page.count('src="data:image/png;base64,') == 5
    assert "http" not in re.sub(r'src="data:[^"]*"', "", page)
    text = (report / "report.md").read_text()
    images = re.findall(r"!\[.*\]\((plots/.*\.png)\)", text)
    assert len(images) == 5
    for name in images:
        with Image.open(report / name) as image:
            assert min(image.size) > 200
    assert "not measured (1): dog" in text

    data = data_of(tmp_path, photos, TEST_ROWS, split="test")
    classifier = load_classifier(Settings(checkpoint=first, device="cpu", precision="fp32"))
    columns = list(data.classes.values())
    texts = classifier.embed_texts([data.texts[column] for column in columns])
    pixels = [
        load_pixels((photos / file).read_bytes(), ImageLimits(), classifier.preprocess).values
        for file in data.files
    ]
    served = classifier.zero_shot(classifier.embed_images(torch.stack(pixels)), texts, "sigmoid")
    expected = average_precision(data.targets[:, columns].numpy(), served.numpy())
    numbers = json.loads((report / "metrics.json").read_text())["checkpoints"]["tiny 1"]
    found = [each["average_precision"]["value"] for each in numbers["classes"]]
    assert found == pytest.approx([*expected[:1], None, *expected[2:]], abs=1e-6)
    everything = numbers["subsets"][0]
    assert everything["classes"] == 3
    assert 0 <= everything["gap"]["low"] <= everything["gap"]["high"] <= 1


def test_labels_are_measured_with_implied_labels(evaluate: Evaluate, tmp_path: Path) -> None:
    assert evaluate(classes="labels", example="coffee.png").code == 0
    found = json.loads((tmp_path / "report" / "metrics.json").read_text())
    classes = {each["key"]: each for each in found["checkpoints"]["tiny 1"]["classes"]}
    assert list(classes) == LABELS.ids
    assert (classes["pets"]["positives"], classes["pets"]["known"]) == (2, 4)
    assert classes["nature"]["positives"] == classes["flowers"]["positives"] == 2
    assert "coffee.png" in (tmp_path / "report" / "report.md").read_text()


def test_manifest_without_names_uses_label_ids_in_report(
    evaluate: Evaluate, tmp_path: Path
) -> None:
    rows = "cat.png,test,pets,temple\nchina.png,test,temple,pets\n"
    assert evaluate(rows, names=None).code == 0
    page = (tmp_path / "report" / "report.html").read_text()
    assert "Image embeddings" not in page  # two photos are too few for a map
    assert "<td>Animals</td>" in page


def test_empty_split_is_reported(evaluate: Evaluate) -> None:
    assert_refused(evaluate(part="train"), 1, "manifest.csv", "no photo is in the split train")


def test_split_without_positive_is_reported(evaluate: Evaluate) -> None:
    assert_refused(evaluate("cat.png,test,,dog\n"), 1, "manifest.csv", "the split test is known")


@pytest.mark.parametrize("workers", [0, 1])
def test_undecodable_photo_is_reported(
    evaluate: Evaluate, tmp_path: Path, photos: Path, workers: int
) -> None:
    (tmp_path / "broken.png").write_bytes((photos / "cat.png").read_bytes()[:500])
    Image.open(photos / "cat.png").save(tmp_path / "whole.png")
    rows = "broken.png,test,cat,dog\nwhole.png,test,dog,cat\n"
    ran = evaluate(rows, photos=tmp_path, workers=workers)
    assert_refused(ran, 1, f"mumic: {tmp_path / 'broken.png'}: cannot be used")
    assert "Traceback" not in ran.err
    assert not (tmp_path / "report" / "report.md").exists()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"example": "no.png"}, ("example", "'no.png'", "the split test")),
        ({"chosen": "cart"}, ("chosen", "'cart'", "nearest known: cat")),
        ({"out": __file__}, ("out", __file__)),
    ],
)
def test_invalid_option_is_reported(
    evaluate: Evaluate, given: dict[str, str], words: tuple[str, ...]
) -> None:
    assert_refused(evaluate(**given), 2, *words)


def test_comparison_with_itself_is_refused(evaluate: Evaluate, first: Path) -> None:
    assert_refused(evaluate(compare_with=first), 2, "compare-with")


def test_compared_label_set_without_label_is_refused(evaluate: Evaluate, tmp_path: Path) -> None:
    other = write_tiny(tmp_path / "other", builtin_label_set())
    rows = "cat.png,test,pets,temple\n"
    ran = evaluate(rows, names=None, compare_with=other)
    assert_refused(ran, 2, "compare-with", "nature, temple", "--names")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("step,loss\n1,2\n", "no column logit_scale"),
        ("step,logit_scale\n1,3.6\n2,high\n", "row 3"),
        ("step,logit_scale\n1\n", "row 2"),
        ("step,logit_scale\n", "no logged step"),
    ],
)
def test_invalid_training_log_is_reported(
    evaluate: Evaluate, tmp_path: Path, content: str, words: str
) -> None:
    (tmp_path / "log.csv").write_text(content)
    assert_refused(evaluate(log=tmp_path / "log.csv"), 1, "log.csv", words)
