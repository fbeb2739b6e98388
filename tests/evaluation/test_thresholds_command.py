"""`mumic thresholds` on a small training set."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from app.core.checkpoint import Checkpoint, read_checkpoint
from app.core.classifier import Classifier
from tests.support.command import Run, mumic
from tests.support.training_set import NAMES, write_init, write_manifest


@pytest.fixture
def init(tmp_path: Path) -> Checkpoint:
    return write_init(tmp_path / "init")


class Command:
    """Runs `mumic thresholds` on the small training set."""

    def __init__(self, folder: Path, photos: Path, init: Checkpoint) -> None:
        names = folder / "names.yaml"
        names.write_text(yaml.safe_dump({"names": {k: n.model_dump() for k, n in NAMES.items()}}))
        self.arguments: list[str | Path] = [
            "--checkpoint",
            init.directory,
            "--manifest",
            write_manifest(folder),
        ]
        self.arguments += ["--photos", photos, "--names", names]

    def __call__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        *more: str | Path,
    ) -> Run:
        return mumic(monkeypatch, capsys, "thresholds", *self.arguments, *more)


@pytest.fixture
def thresholds(tmp_path: Path, photos: Path, init: Checkpoint) -> Command:
    return Command(tmp_path, photos, init)


def test_thresholds_command_writes_sealed_checkpoint(
    tmp_path: Path,
    thresholds: Command,
    init: Checkpoint,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "fitted"
    run = thresholds(monkeypatch, capsys, "--out", out, "--min-positives", "1")
    assert run.code == 0, run.err
    assert "flowers" in run.out
    assert "known pairs" in run.out
    fitted = read_checkpoint(out)
    by_id = {label.id: label.thresholds for label in fitted.labels.labels}
    before = {label.id: label.thresholds for label in init.labels.labels}
    assert by_id["flowers"] != before["flowers"]
    assert all(each.serve is None or each.store <= each.serve for each in by_id.values())
    assert fitted.card.metrics["thresholds"]["part"] == "validation"
    assert read_checkpoint(init.directory).labels == init.labels
    Classifier.load(out, device="cpu", precision="fp32")


def test_recall_guarantee_is_recorded_and_lists_other_labels(
    tmp_path: Path,
    thresholds: Command,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One positive proves a recall of 0.5 with confidence 0.5, and nothing about 0.9."""
    out, wanted = tmp_path / "fitted", ["--min-positives", "1", "--confidence", "0.5"]
    run = thresholds(monkeypatch, capsys, "--out", out, *wanted, "--recall-at-least", "0.5")
    assert run.code == 0, run.err
    assert "have a recall of at least 0.5 with confidence 0.5 each" in run.out
    fitted = read_checkpoint(out)
    kinds = {label.id: label.thresholds.kind for label in fitted.labels.labels}
    assert kinds == {"nature": "recall", "flowers": "recall", "pets": "recall", "temple": None}
    recorded = fitted.card.metrics["thresholds"]
    assert recorded["serve_recall_at_least"] == recorded["serve_confidence"] == 0.5
    assert recorded["guaranteed"] == 3
    run = thresholds(monkeypatch, capsys, "--out", out, *wanted, "--recall-at-least", "0.9")
    assert "with confidence 0.5 takes 7 known positives" in run.out
    assert "flowers (1 positive)" in run.out


def test_wanted_precision_is_recorded_in_card(
    tmp_path: Path,
    thresholds: Command,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "fitted"
    wanted = ["--min-positives", "1", "--precision", "0.9"]
    assert thresholds(monkeypatch, capsys, "--out", out, *wanted).code == 0
    fitted = read_checkpoint(out)
    assert fitted.card.metrics["thresholds"]["serve_precision"] == 0.9
    assert "precision" in {label.thresholds.kind for label in fitted.labels.labels}


def test_label_without_evidence_is_not_served_and_named(
    tmp_path: Path,
    thresholds: Command,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "fitted"
    run = thresholds(monkeypatch, capsys, "--out", out)
    assert run.code == 0, run.err
    fitted = {label.id: label for label in read_checkpoint(out).labels.labels}
    assert {id for id, label in fitted.items() if label.thresholds.serve is None} == {
        *("nature", "pets", "temple")
    }
    assert {id: label.evidence for id, label in fitted.items()} == {
        "nature": "none",
        "flowers": "human",
        "pets": "none",
        "temple": "none",
    }
    assert re.search(r"^temple +none +0 +0 +- +null ", run.out, re.MULTILINE)
    assert "too few photos for 1 of 4 labels: flowers (1 positive, 1 negative)" in run.out
    assert "3 of 4 labels are not served by default" in run.out
    assert "temple (0 positive, 0 negative)" in run.out
    assert f"run: mumic seal {out}" in run.out
    labels = out / "labels.yaml"
    labels.write_text(labels.read_text().replace("serve: null", "serve: 0.4", 1))
    assert mumic(monkeypatch, capsys, "seal", out).code == 0
    (nature, *_) = read_checkpoint(out).labels.labels
    assert (nature.evidence, nature.thresholds.serve) == ("none", 0.4)


def test_checkpoint_is_fitted_in_place(
    thresholds: Command,
    init: Checkpoint,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = thresholds(monkeypatch, capsys, "--out", init.directory)
    assert run.code == 0, run.err
    assert read_checkpoint(init.directory).labels != init.labels


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--recall", "1"], 2, "recall: must be above 0 and below 1"),
        (["--part", "test"], 1, "no photo is in the split test"),
        (["--precision", "2"], 2, "--precision"),
        (["--recall-at-least", "1"], 2, "recall-at-least: must be above 0 and below 1"),
        (["--recall-at-least", "0.9", "--precision", "0.9"], 2, "not to both"),
    ],
)
def test_invalid_option_exits_without_output(
    tmp_path: Path,
    thresholds: Command,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    code: int,
    message: str,
) -> None:
    run = thresholds(monkeypatch, capsys, "--out", tmp_path / "none", *options)
    assert run.code == code
    assert message in run.err
    assert run.out == ""
    assert not (tmp_path / "none").exists()


def test_unwritable_output_is_reported(
    tmp_path: Path,
    thresholds: Command,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").write_text("not a folder")
    run = thresholds(monkeypatch, capsys, "--out", tmp_path / "file" / "fitted")
    assert run.code == 1
    assert "fitted: cannot be written" in run.err


def test_single_photo_is_refused(
    tmp_path: Path,
    thresholds: Command,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "manifest.csv").write_text("file,part,positive,negative\ncat.png,validation,cat,\n")
    run = thresholds(monkeypatch, capsys, "--out", tmp_path / "none")
    assert run.code == 1
    assert "manifest.csv: only one photo is in the split validation" in run.err
    assert not (tmp_path / "none").exists()


def test_fitting_in_place_keeps_other_files(
    tmp_path: Path,
    thresholds: Command,
    init: Checkpoint,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own = tmp_path / "own"
    shutil.copytree(init.directory, own)
    (own / "plots").mkdir()
    (own / "plots" / "curve.txt").write_text("kept")
    thresholds.arguments[1] = own
    run = thresholds(monkeypatch, capsys, "--out", own)
    assert run.code == 0, run.err
    assert (own / "plots" / "curve.txt").read_text() == "kept"
    read_checkpoint(own)


def test_foreign_output_is_refused_before_scoring(
    tmp_path: Path,
    thresholds: Command,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("keep")
    run = thresholds(monkeypatch, capsys, "--out", tmp_path / "other")
    assert run.code == 1
    assert run.err.startswith(f"mumic: {tmp_path / 'other'}: exists without")
