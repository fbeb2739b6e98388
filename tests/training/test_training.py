"""Training end to end on a tiny model and a handful of real photos."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from rich.progress import Progress

from app.core.checkpoint import Checkpoint, load_model, read_checkpoint, seal
from app.core.classifier import Classifier
from app.dataset.photos import PhotoDataset
from app.errors import DataError, OptionError
from app.training.config import TrainConfig
from app.training.run import TrainingResult, setup, train
from app.training.run.loop import epoch_batches
from tests.support.command import mumic
from tests.support.killing import KilledError, KillingProgress
from tests.support.training_set import NAMES, ROWS, data_of, write_init, write_manifest

pytestmark = pytest.mark.slow


def weights_of(trained: TrainingResult) -> Mapping[str, torch.Tensor]:
    state: Mapping[str, torch.Tensor] = trained.model.clip.state_dict()
    return state


CONFIG_FAST = TrainConfig(
    learning_rate=1e-3, batch_size=2, epochs=3, min_crop=0.5, save_every_steps=1
)


@pytest.mark.parametrize("settings", [{}, {"workers": 1}, {"workers": 1, "freeze_image": True}])
def test_undecodable_photo_stops_run_and_is_named(
    tmp_path: Path, photos: Path, init: Checkpoint, progress: Progress, settings: dict[str, Any]
) -> None:
    (tmp_path / "broken.png").write_bytes((photos / "cat.png").read_bytes()[:500])
    data = data_of(tmp_path, tmp_path, "broken.png,train,cat,\n")
    config = replace(CONFIG_FAST, **settings)
    with pytest.raises(DataError, match=r"broken\.png: cannot be used") as caught:
        train(init, data, config, tmp_path / "run", progress=progress)
    assert "Traceback" not in str(caught.value)
    assert not active_children()  # or the garbage collector would wait for one, wherever it runs


@pytest.mark.parametrize(
    "settings",
    [
        {"freeze_image": True},
        {"ema_decay": 0.7, "micro_batches": 2, "precision": "bf16", "best_by": "last"},
    ],
)
def test_killed_run_resumes_to_same_weights(
    tmp_path: Path, photos: Path, init: Checkpoint, progress: Progress, settings: dict[str, Any]
) -> None:
    data = data_of(tmp_path, photos)
    config = replace(CONFIG_FAST, **settings)
    whole = train(init, data, config, tmp_path / "whole", progress=progress)
    for after in (1, 2):
        with pytest.raises(KilledError):
            train(init, data, config, tmp_path / "killed", progress=KillingProgress(after))
    resumed = train(init, data, config, tmp_path / "killed", progress=progress)
    torch.testing.assert_close(weights_of(resumed), weights_of(whole), rtol=0, atol=0)
    logs = [(tmp_path / run / "log.csv").read_text() for run in ("whole", "killed")]
    assert logs[0] == logs[1]
    assert resumed.validation == pytest.approx(whole.validation, nan_ok=True)


def test_dropout_repeats_after_kill_within_epoch(
    tmp_path: Path, photos: Path, progress: Progress
) -> None:
    folder = write_init(tmp_path / "init").directory
    config = json.loads((folder / "open_clip_config.json").read_bytes())
    config["model_cfg"]["vision_cfg"]["timm_drop"] = 0.5
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    seal(folder)
    init, data = read_checkpoint(folder), data_of(tmp_path, photos)
    whole = train(init, data, CONFIG_FAST, tmp_path / "whole", progress=progress)
    with pytest.raises(KilledError):
        train(init, data, CONFIG_FAST, tmp_path / "killed", progress=KillingProgress(1))
    resumed = train(init, data, CONFIG_FAST, tmp_path / "killed", progress=progress)
    torch.testing.assert_close(weights_of(resumed), weights_of(whole), rtol=0, atol=0)


def test_state_with_other_settings_is_not_resumed(
    tmp_path: Path, photos: Path, init: Checkpoint, progress: Progress
) -> None:
    data = data_of(tmp_path, photos)
    with pytest.raises(KilledError):
        train(init, data, CONFIG_FAST, tmp_path / "run", progress=KillingProgress(2))
    with pytest.raises(OptionError, match="an interrupted run with other settings"):
        train(init, data, replace(CONFIG_FAST, seed=1), tmp_path / "run", progress=progress)


def test_state_of_another_photo_decoder_is_not_resumed(
    tmp_path: Path,
    photos: Path,
    init: Checkpoint,
    progress: Progress,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = data_of(tmp_path, photos)
    with pytest.raises(KilledError):
        train(init, data, CONFIG_FAST, tmp_path / "run", progress=KillingProgress(2))
    monkeypatch.setattr(setup, "decoder_fingerprint", lambda: "new")
    with pytest.raises(OptionError, match="versions of the packages that decode photos"):
        train(init, data, CONFIG_FAST, tmp_path / "run", progress=progress)


def test_training_lowers_loss_and_caps_logit_scale(
    tmp_path: Path, photos: Path, init: Checkpoint, progress: Progress
) -> None:
    data = data_of(tmp_path, photos)
    config = replace(CONFIG_FAST, epochs=15, max_logit_scale=3.65, learning_rate=3e-3, min_crop=1.0)
    trained = train(init, data, config, tmp_path / "run", progress=progress)
    assert trained.history[-1]["loss"] < 0.3 * trained.history[0]["loss"]
    assert trained.history[-1]["logit_scale"] <= 3.65 + 1e-6


def test_frozen_towers_are_not_trained(
    tmp_path: Path, photos: Path, init: Checkpoint, progress: Progress
) -> None:
    data = data_of(tmp_path, photos)
    config = replace(CONFIG_FAST, freeze_text=True, freeze_image=True)
    trained = weights_of(train(init, data, config, tmp_path / "run", progress=progress))
    before = load_model(init).clip.state_dict()
    changed = {key for key, value in before.items() if not torch.equal(value, trained[key])}
    assert changed == {"visual.head.proj.weight", "logit_scale"}


@pytest.mark.parametrize("min_crop", [1.0, 0.3])
def test_augmentation_depends_on_epoch_alone(
    photos: Path, init: Checkpoint, min_crop: float
) -> None:
    paths = [photos / "cat.png"]
    plain = PhotoDataset(paths, init.preprocess)[0]
    first, again, second = (
        PhotoDataset(paths, init.preprocess, (0, epoch), min_crop)[0] for epoch in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert first.shape == plain.shape
    assert first.dtype == torch.uint8


def test_augmentation_does_not_crop_by_default(photos: Path, init: Checkpoint) -> None:
    paths = [photos / "cat.png"]
    plain = PhotoDataset(paths, init.preprocess)[0].float()
    for epoch in range(4):
        other = PhotoDataset(paths, init.preprocess, (0, epoch))[0].float()
        difference = min(
            ((view * factor).clamp(max=255) - other).abs().max()
            for view in (plain, plain.flip(-1))
            for factor in torch.linspace(0.8, 1.2, 401)
        )
        assert difference <= 2


def test_photo_order_depends_on_seed_and_epoch() -> None:
    indices = torch.arange(100)
    config = TrainConfig(batch_size=8)
    first, again, second = (torch.cat(epoch_batches(indices, config, e)) for e in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert len(first) == 96


def test_learning_rate_rises_to_peak_and_falls_to_zero() -> None:
    config = TrainConfig(learning_rate=1.0, warmup=0.1)
    rates = [config.learning_rate_at(step, 1000) for step in range(1000)]
    assert max(rates) == pytest.approx(1.0, abs=1e-3)
    assert rates[:100] == sorted(rates[:100])
    assert rates[100:] == sorted(rates[100:], reverse=True)
    assert rates[-1] < 1e-4


def test_train_command_writes_loadable_checkpoint(
    tmp_path: Path,
    photos: Path,
    init: Checkpoint,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = tmp_path / "names.yaml"
    names.write_text(yaml.safe_dump({"names": {k: n.model_dump() for k, n in NAMES.items()}}))
    out = tmp_path / "trained"
    options = {
        "--init": init.directory,
        "--manifest": write_manifest(tmp_path, ROWS + "broken.png,train,cat,\n"),
        "--photos": shutil.copytree(photos, tmp_path / "photos"),
        "--names": names,
        "--out": out,
        "--leave-out": "pagoda",
        "--epochs": 1,
        "--batch-size": 4,
        "--max-bad-photos": 1,
        "--device": "cpu",
    }
    (tmp_path / "photos" / "broken.png").write_text("no image")
    arguments = [*(str(part) for option in options.items() for part in option), "--cache-photos"]
    run = mumic(monkeypatch, capsys, "train", *arguments)
    assert (run.code, run.out) == (0, ""), run.err
    assert "1 of 8 photos cannot be decoded" in run.err
    listed = (tmp_path / "trained.run" / "bad_photos.txt").read_text()
    assert listed.startswith("row 9, column file: ")
    card = read_checkpoint(out).card
    assert card.name == "trained"
    assert card.training["left_out"] == ["pagoda"]
    assert card.training["positive_weights"]["pets"] == 3.0
    assert card.training["positive_weight_of_other_texts"] == 10.0
    assert card.training["settings"]["precision"] == "fp32"
    assert card.metrics["validation"]["macro_map"] > 0
    assert not (tmp_path / "trained.run" / "state.pt").exists()
    Classifier.load(out, device="cpu", precision="fp32")


@pytest.mark.parametrize(
    ("command", "options", "problem"),
    [
        (("train",), (), "exists without mumic.json"),
        (("train",), ("--max-logit-scale", "3"), "3.652 is above the cap of 3.000"),
        (("baseline", "asl"), (), "exists without asl.json"),
        (("train",), ("--name", "my model"), "name: String should match"),
        (("train",), ("--version", ""), "version: String should have"),
        (("train",), ("--initial-logit-scale=-inf",), "initial-logit-scale: must be a finite"),
        (("train",), ("--learning-rate", "inf"), "learning-rate: must be a finite number, got inf"),
        (("train",), ("--positive-weight", "inf"), "positive-weight: must be a finite number"),
    ],
)
def test_invalid_output_or_option_stops_before_run(
    tmp_path: Path,
    photos: Path,
    init: Checkpoint,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: tuple[str, ...],
    options: tuple[str, ...],
    problem: str,
) -> None:
    out = tmp_path / "out"
    if not options:
        out.mkdir()
        (out / "notes.txt").write_text("keep")
    given = ("--init", init.directory, "--manifest", write_manifest(tmp_path), "--photos", photos)
    done = mumic(monkeypatch, capsys, *command, *given, "--out", out, *options)
    assert done.code == (1 if options[:1] in {(), ("--name",), ("--version",)} else 2)
    assert problem in done.err
    assert not (tmp_path / "out.run").exists()
