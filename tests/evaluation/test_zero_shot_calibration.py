"""The calibration of zero-shot scores: the fit, its check on other texts, and the command."""

from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor

from app.core.checkpoint import Checkpoint, read_checkpoint
from app.core.classifier import Classifier
from app.core.model import calibrated_zero_shot_logits, cosines, l2_normalize, moments
from app.errors import DataError
from app.evaluation.zero_shot import fit_zero_shot, left_out_logits, measure_zero_shot
from tests.support.command import Run, mumic
from tests.support.training_set import NAMES, write_init, write_manifest

UNKNOWN = -1
PHOTOS, TEXTS, DIMENSION = 400, 20, 32
BACKGROUND = moments(
    l2_normalize(torch.randn(200, DIMENSION, generator=torch.Generator().manual_seed(1)))
)


def offset_pairs() -> tuple[Tensor, Tensor, Tensor]:
    """Photos of one text each; half of the texts have higher cosines with all photos."""
    generator = torch.Generator().manual_seed(0)
    common = torch.zeros(DIMENSION)
    common[-1] = 1
    classes = torch.arange(PHOTOS) % TEXTS
    images = torch.eye(TEXTS, DIMENSION)[classes] + 2 * common
    images += 0.1 * torch.randn(PHOTOS, DIMENSION, generator=generator)
    texts = torch.eye(TEXTS, DIMENSION) + torch.arange(TEXTS)[:, None] % 2 * common
    targets = (classes[:, None] == torch.arange(TEXTS)).float()
    targets[::3, ::2] = UNKNOWN
    return l2_normalize(images), l2_normalize(texts), targets


def test_left_out_texts_are_separated_at_one_half() -> None:
    images, texts, targets = offset_pairs()
    raw = measure_zero_shot(20 * cosines(images, texts), targets)
    left_out = left_out_logits(images, texts, targets, BACKGROUND, prior=0.5)
    found = measure_zero_shot(left_out, targets)
    assert raw.specificity < 0.6  # one scale cannot serve texts of different means
    assert (found.recall, found.specificity) == pytest.approx((1, 1), abs=0.01)


def test_left_out_logits_do_not_depend_on_own_targets() -> None:
    images, texts, targets = offset_pairs()
    other = targets.clone()
    other[:, 3] = 1 - other[:, 3].clamp(min=0)
    before = left_out_logits(images, texts, targets, BACKGROUND, prior=0.5)
    after = left_out_logits(images, texts, other, BACKGROUND, prior=0.5)
    torch.testing.assert_close(before[:, 3], after[:, 3])
    assert not torch.allclose(before[:, 4], after[:, 4])


def test_prior_shifts_log_odds() -> None:
    images, texts, targets = offset_pairs()
    even = fit_zero_shot(images, texts, targets, BACKGROUND, prior=0.5)
    rare = fit_zero_shot(images, texts, targets, BACKGROUND, prior=0.2)
    assert rare.scale == pytest.approx(even.scale)
    assert even.offset - rare.offset == pytest.approx(torch.logit(torch.tensor(0.8)).item())


def test_confidences_are_calibrated_at_even_odds() -> None:
    images, texts, targets = offset_pairs()
    images = l2_normalize(images + 0.3 * torch.randn_like(images))
    calibration = fit_zero_shot(images, texts, targets, BACKGROUND, prior=0.5)
    found = calibrated_zero_shot_logits(images, texts, calibration).sigmoid()
    fits, others = targets == 1, targets == 0
    sums = (found * fits).sum(dim=0) / fits.sum(dim=0) + (found * others).sum(dim=0) / others.sum(
        dim=0
    )
    assert sums.mean().item() == pytest.approx(1, abs=1e-3)


def test_scores_of_reversed_targets_are_refused() -> None:
    images, texts, targets = offset_pairs()
    reversed_targets = torch.where(targets < 0, targets, 1 - targets)
    with pytest.raises(DataError, match="do not have higher cosines"):
        fit_zero_shot(images, texts, reversed_targets, BACKGROUND, prior=0.5)


class Command:
    """Runs `mumic calibrate zero-shot` on the small training set."""

    def __init__(self, folder: Path, photos: Path) -> None:
        names = folder / "names.yaml"
        names.write_text(yaml.safe_dump({"names": {k: n.model_dump() for k, n in NAMES.items()}}))
        self.init = write_init(folder / "init")
        self.arguments: list[str | Path] = [
            self.init.directory,
            *("--manifest", write_manifest(folder), "--photos", photos, "--names", names),
            *("--device", "cpu"),
        ]

    def __call__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        *more: str | Path,
    ) -> Run:
        return mumic(monkeypatch, capsys, "calibrate", "zero-shot", *self.arguments, *more)


@pytest.fixture
def calibrate(tmp_path: Path, photos: Path) -> Command:
    return Command(tmp_path, photos)


def scoring_of(checkpoint: Checkpoint) -> str:
    return Classifier.load(checkpoint.directory, device="cpu", precision="fp32").choose_scoring()


@pytest.mark.parametrize("in_place", [False, True])
def test_command_writes_calibrated_checkpoint(
    tmp_path: Path,
    calibrate: Command,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    in_place: bool,
) -> None:
    out = calibrate.init.directory if in_place else tmp_path / "calibrated"
    options = ("--part", "train", "--min-positives", "1", "--prior", "0.2")
    run = calibrate(monkeypatch, capsys, "--out", out, *options)
    assert run.code == 0, run.err
    assert "calibrated, prior 0.2" in run.out
    assert run.out.count("written") == 1
    fitted = read_checkpoint(out)
    assert scoring_of(fitted) == "calibrated"
    assert fitted.card.metrics["zero_shot"]["prior"] == 0.2
    assert fitted.labels == calibrate.init.labels
    if not in_place:
        assert scoring_of(calibrate.init) == "sigmoid"


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--prior", "1"], 2, "prior: must be above 0 and below 1, got 1.0"),
        (["--part", "test"], 1, "no photo is in the split test"),
        (["--part", "train"], 1, "0 texts have at least 5 photos in the split train"),
        (["--background", "/dev/null"], 2, "background: /dev/null has 0 texts"),
        (["--background", "nowhere"], 2, "cannot read nowhere: No such file or directory"),
    ],
)
def test_invalid_option_exits_without_output(
    tmp_path: Path,
    calibrate: Command,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    code: int,
    message: str,
) -> None:
    run = calibrate(monkeypatch, capsys, "--out", tmp_path / "none", *options)
    assert (run.code, run.out) == (code, "")
    assert message in run.err
    assert not (tmp_path / "none").exists()


def test_altered_calibration_is_reported_before_photos_are_read(
    calibrate: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (calibrate.init.directory / "zero_shot_calibration.safetensors").write_bytes(b"x")
    run = calibrate(monkeypatch, capsys, "--out", calibrate.init.directory)
    assert run.code == 1
    assert "zero_shot_calibration.safetensors: has no sha256 in mumic.json" in run.err
