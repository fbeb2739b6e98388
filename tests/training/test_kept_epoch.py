"""Which epoch `mumic train` keeps, and what it says about it."""

import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from rich.progress import Progress

from app.core.checkpoint import Checkpoint, load_model
from app.training.config import TrainConfig
from app.training.run import evaluate, loop, train
from tests.support.command import Run, mumic
from tests.support.killing import KilledError, KillingProgress
from tests.support.training_set import LABELS, data_of

pytestmark = pytest.mark.slow

ROWS = """\
cat.png,train,pets,nature|flowers
coffee.png,train,,pets|nature|flowers
china.png,train,,pets|flowers
flower.png,train,flowers,pets
cat2.png,validation,pets,flowers
flower2.png,validation,flowers,pets
"""
Measured = tuple[float, float]  # macro mAP and validation loss


@pytest.fixture
def command(
    tmp_path: Path,
    photos: Path,
    init: Checkpoint,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., Run]:
    """`mumic train` on four photos, two at a step, into `out`."""
    manifest = tmp_path / "photos.csv"
    manifest.write_text(f"file,part,positive,negative\n{ROWS}")
    given = ("--init", init.directory, "--manifest", manifest, "--photos", photos)
    out = ("--out", tmp_path / "out", "--device", "cpu", "--batch-size", "2")

    def run(*options: str) -> Run:
        return mumic(monkeypatch, capsys, "train", *given, *out, *options)

    return run


def measure(monkeypatch: pytest.MonkeyPatch, measured: Sequence[Measured]) -> None:
    """Give validation these results: the start's, then each epoch's."""
    results: Iterator[Measured] = iter(measured)

    def validate(*_: object) -> dict[str, float]:
        macro_map, loss = next(results)
        ranking = dict.fromkeys(("macro_map", "gap", "gap_at_10", "ap_pets"), macro_map)
        return ranking | {"validation_loss": loss}

    monkeypatch.setattr(loop, "validate", validate)


@pytest.mark.parametrize(
    ("epochs", "kept"),
    [
        ([(1.0, 0.9), (1.0, 0.9), (1.0, 0.9)], 3),
        ([(1.0, 0.9), (1.0, 0.8), (1.0, 0.9)], 2),
        ([(0.9, 0.9), (1.0, 1.0), (0.9, 0.8)], 2),
    ],
)
def test_tied_epochs_are_ranked_by_validation_loss(
    tmp_path: Path,
    command: Callable[..., Run],
    monkeypatch: pytest.MonkeyPatch,
    epochs: list[Measured],
    kept: int,
) -> None:
    measure(monkeypatch, [(0.5, 0.5), *epochs])
    ran = command("--epochs", "3")
    assert ran.code == 0, ran.err
    assert f"macro mAP on validation: start 0.500, kept 1.000 (epoch {kept} of 3)" in ran.err
    tied = sum(macro_map == 1 for macro_map, _ in epochs)
    assert (f"{tied} epochs tie at macro mAP 1.000" in ran.err) == (tied > 1)
    card = json.loads((tmp_path / "out" / "mumic.json").read_text())
    assert card["training"]["best_epoch"] == kept
    assert card["training"]["best_step"] == 2 * kept
    assert card["metrics"]["validation_of_start"]["macro_map"] == 0.5
    readme = " ".join((tmp_path / "out" / "README.md").read_text().split())
    assert f"4 photos and epoch {kept} of 3 was kept" in readme


@pytest.mark.parametrize(
    ("kept", "warning"),
    [
        (0.6, None),
        (0.5, "the result is no better on validation than the start checkpoint"),
        (0.4, "the result is worse on validation than the start checkpoint"),
    ],
)
def test_result_not_better_than_start_is_warned_of(
    command: Callable[..., Run],
    monkeypatch: pytest.MonkeyPatch,
    kept: float,
    warning: str | None,
) -> None:
    measure(monkeypatch, [(0.5, 0.5), (kept, 0.5)])
    ran = command("--epochs", "1")
    assert f"start 0.500, kept {kept:.3f} (epoch 1 of 1)" in ran.err
    assert ("than the start checkpoint" in ran.err) == (warning is not None)
    assert (warning or "") in ran.err


def test_perfect_start_is_said_to_show_nothing(
    command: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    measure(monkeypatch, [(1.0, 1.0), (1.0, 1.0)])
    assert "it cannot show whether training helped" in command("--epochs", "1").err


@pytest.mark.parametrize(
    ("options", "is_warned"),
    [
        (("--epochs", "1"), True),
        (("--epochs", "1", "--learning-rate", "1e-2"), True),
        (("--epochs", "10"), True),
        (("--epochs", "10", "--learning-rate", "1e-3"), False),
    ],
)
def test_few_optimizer_steps_are_warned_of(
    command: Callable[..., Run],
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    is_warned: bool,
) -> None:
    measure(monkeypatch, [(0.5, 0.5)] * 11)
    ran = command(*options, "--freeze-image", "--freeze-text")
    assert ran.code == 0, ran.err
    assert (
        f"epochs {options[1]} are {2 * int(options[1])} optimizer steps" in ran.err
    ) == is_warned
    if is_warned:
        advice = ran.err[ran.err.index("optimizer steps") :]
        for option in ("batch-size", "epochs", "learning-rate", "freeze-image", "freeze-text"):
            assert f"--{option}" in advice


def test_start_is_measured_with_start_weights(
    tmp_path: Path, photos: Path, init: Checkpoint, progress: Progress
) -> None:
    data = data_of(tmp_path, photos)
    config = TrainConfig(learning_rate=3e-3, batch_size=2, epochs=2)
    trained = train(init, data, config, tmp_path / "run", progress=progress)
    expected = evaluate(load_model(init), init.preprocess, data, "validation")
    measured = {name: trained.start[f"ap_{name}"] for name in expected}
    assert measured == pytest.approx(expected, nan_ok=True)


def test_resumed_run_keeps_measures_of_start(
    tmp_path: Path,
    photos: Path,
    init: Checkpoint,
    progress: Progress,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measure(monkeypatch, [(0.5, 0.5), (0.6, 0.6), (0.7, 0.7), (0.8, 0.8)])
    data = data_of(tmp_path, photos)
    config = TrainConfig(learning_rate=3e-3, batch_size=2, epochs=3, save_every_steps=1)
    with pytest.raises(KilledError):
        train(init, data, config, tmp_path / "killed", progress=KillingProgress(3))
    resumed = train(init, data, config, tmp_path / "killed", progress=progress)
    assert (resumed.start["macro_map"], resumed.best_epoch) == (0.5, 3)


def test_labels_without_positives_and_next_command_are_named(
    tmp_path: Path,
    command: Callable[..., Run],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    manifest = tmp_path / "photos.csv"
    manifest.write_text(manifest.read_text().replace("part", "my split", 1))
    ran = command("--epochs", "1", "--freeze-image", "--freeze-text", "--part-column", "my split")
    without = "1 of 4 labels have no positive photo in the split train"
    assert f"{without}: their scores change and their thresholds no longer fit" in ran.err
    assert len(LABELS.ids) == 4
    out = tmp_path / "out"
    next_command = shlex.split(ran.err.rpartition("next: mumic ")[2])
    fitted = mumic(monkeypatch, capsys, *next_command, "--device", "cpu")
    assert fitted.code == 0, fitted.err
    assert "thresholds" in json.loads((out / "mumic.json").read_text())["metrics"]
