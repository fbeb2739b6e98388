"""`mumic calibrate labels` on a small training set, and `mumic thresholds` after it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from app.core.checkpoint import read_checkpoint
from app.core.classifier import Classifier
from app.core.images import ImageLimits, load_pixels
from app.core.labels import Calibration, make_selection
from tests.support.command import Run, mumic
from tests.support.training_set import NAMES, write_init, write_manifest

Command = Callable[..., Run]


@pytest.fixture
def command(
    tmp_path: Path,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Command:
    """Run a command on the small training set, with one photo as enough."""
    names = tmp_path / "names.yaml"
    names.write_text(yaml.safe_dump({"names": {k: n.model_dump() for k, n in NAMES.items()}}))
    manifest = write_manifest(tmp_path)
    write_init(tmp_path / "init")

    def run(*arguments: str | Path) -> Run:
        data = ("--manifest", manifest, "--photos", photos, "--names", names)
        enough = () if "--min-positives" in arguments else ("--min-positives", "1")
        return mumic(monkeypatch, capsys, *arguments, *data, *enough)

    return run


def served(directory: Path, photos: Path) -> list[set[str]]:
    """Return the ids of the labels that a checkpoint serves for each photo."""
    classifier = Classifier.load(directory, device="cpu", precision="fp32")
    pixels = [
        load_pixels(path.read_bytes(), ImageLimits(), classifier.preprocess).values
        for path in sorted(photos.iterdir())
    ]
    logits = classifier.score_images(torch.stack(pixels)).logits
    select = make_selection(classifier.labels)
    return [{tag.label.id for tag in select(row)} for row in logits]


def test_calibrated_checkpoint_serves_same_labels(
    tmp_path: Path, photos: Path, command: Command
) -> None:
    init, out = tmp_path / "init", tmp_path / "out"
    run = command("calibrate", "labels", init, "--part", "validation", "--out", out)
    assert run.code == 0, run.err
    assert "1 labels have a calibration of their own, 3 the pooled one" in run.out
    assert "the same photos pass them" in run.err
    (flowers,) = [line.split() for line in run.out.splitlines() if line.startswith("flowers ")]
    assert flowers[1:4] == ["own", "1", "1"]
    calibrated = read_checkpoint(out)
    calibrations = [label.calibration for label in calibrated.labels.labels]
    assert Calibration() not in calibrations
    assert served(out, photos) == served(init, photos)
    recorded = calibrated.card.metrics["calibration"]
    assert (recorded["part"], recorded["photos"], recorded["labels"]) == ("validation", 2, 1)
    assert set(calibrated.card.metrics["score_histograms"]) == set(calibrated.labels.ids)

    again = command("calibrate", "labels", out, "--part", "validation", "--out", out)
    assert again.code == 0, again.err
    for label, calibration in zip(read_checkpoint(out).labels.labels, calibrations, strict=True):
        assert label.calibration.scale == pytest.approx(calibration.scale, rel=1e-4)
        assert label.calibration.offset == pytest.approx(calibration.offset, abs=1e-3)


def test_thresholds_on_calibrated_scores_warn_of_shared_split(
    tmp_path: Path, command: Command
) -> None:
    init, out = tmp_path / "init", tmp_path / "out"
    assert command("calibrate", "labels", init, "--part", "validation", "--out", out).code == 0
    run = command("thresholds", "--checkpoint", out, "--out", out)
    assert run.code == 0, run.err
    assert "warning: the calibration was fitted to the split validation too" in run.err


def test_missing_calibration_split_is_refused_with_advice(tmp_path: Path, command: Command) -> None:
    run = command("calibrate", "labels", tmp_path / "init", "--out", tmp_path / "none")
    assert run.code == 1
    assert "no photo is in the split calibration; make it with mumic data split" in run.err
    assert not (tmp_path / "none").exists()


def test_training_photos_are_used_with_warning(tmp_path: Path, command: Command) -> None:
    out = tmp_path / "out"
    run = command("calibrate", "labels", tmp_path / "init", "--part", "train", "--out", out)
    assert run.code == 0, run.err
    assert "warning: the calibration was fitted to the split train" in run.err


def test_labels_without_enough_photos_are_refused(tmp_path: Path, command: Command) -> None:
    run = command(
        *("calibrate", "labels", tmp_path / "init", "--part", "validation"),
        *("--out", tmp_path / "none", "--min-positives", "2"),
    )
    assert run.code == 1
    assert "no label has 2 known positives and 2 known negatives" in run.err
