"""Runs with the optional methods: low rank, unknown pairs, parents of labels."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import open_clip
import pytest
import torch
from rich.progress import Progress

from app.core.checkpoint import Checkpoint, load_model, read_checkpoint
from app.core.classifier import Classifier
from app.dataset.labelled import LabelledPhotos, check_trainable
from app.errors import DataError, OptionError
from app.training.config import TrainConfig
from app.training.data import Inputs
from app.training.objective import TemperedSigmoid
from app.training.objective.objectives import unknown_pairs
from app.training.run import train
from tests.support.command import mumic
from tests.support.killing import KilledError, KillingProgress
from tests.support.training_set import LABELS, data_of, write_manifest

CONFIG = TrainConfig(
    learning_rate=1e-2, batch_size=2, epochs=3, save_every_steps=1, best_by="last", min_crop=0.5
)
POSITIVES_ONLY = """\
cat.png,train,pets,
flower.png,train,flowers,
china.png,train,temple,
cat2.png,validation,pets,flowers
"""


@pytest.mark.slow
def test_killed_low_rank_run_resumes_to_same_weights(
    tmp_path: Path, photos: Path, init: Checkpoint, progress: Progress
) -> None:
    data = data_of(tmp_path, photos)
    config = replace(CONFIG, lora_rank=2, ema_decay=0.7, micro_batches=2)
    whole = train(init, data, config, tmp_path / "whole", progress=progress)
    with pytest.raises(KilledError):
        train(init, data, config, tmp_path / "killed", progress=KillingProgress(3))
    with pytest.raises(OptionError, match="an interrupted run with other settings"):
        train(init, data, replace(config, lora_rank=3), tmp_path / "killed", progress=progress)
    resumed = train(init, data, config, tmp_path / "killed", progress=progress)
    found, expected = (each.model.clip.state_dict() for each in (resumed, whole))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    start = load_model(init).clip.state_dict()
    assert found.keys() == start.keys()
    changed = {name for name in start if not torch.equal(found[name], start[name])}
    assert {"visual.head.proj.weight", "text.text_projection", "logit_scale"} < changed
    assert not [name for name in changed if "running" in name or name.endswith("bias")]


@pytest.mark.slow
def test_low_rank_run_with_frozen_towers_adapts_projection(
    tmp_path: Path, photos: Path, init: Checkpoint, progress: Progress
) -> None:
    config = replace(CONFIG, lora_rank=1, freeze_image=True, freeze_text=True)
    trained = train(init, data_of(tmp_path, photos), config, tmp_path / "run", progress=progress)
    before, after = (
        each.clip.visual.head.proj.weight for each in (load_model(init), trained.model)
    )
    update = after - before
    assert torch.linalg.matrix_rank(update, rtol=1e-3) == 1


def test_hierarchy_penalty_needs_parents(tmp_path: Path, photos: Path, init: Checkpoint) -> None:
    flat = LABELS.model_copy(
        update={"labels": tuple(each.model_copy(update={"parents": ()}) for each in LABELS.labels)}
    )
    config = replace(CONFIG, hierarchy_penalty=1.0)
    with pytest.raises(OptionError, match="hierarchy-penalty: no label of the label set has"):
        TemperedSigmoid(load_model(init), data_of(tmp_path, photos), flat, config)


def unknown_texts(data: LabelledPhotos, file: str) -> set[str]:
    pairs = unknown_pairs(data)[data.files.index(file)]
    texts = (text.removeprefix("a photo with ") for text in data.texts)
    return {text for text, unknown in zip(texts, pairs.tolist(), strict=True) if unknown}


def test_unknown_pairs_are_of_texts_with_positives(tmp_path: Path, photos: Path) -> None:
    rows = "cat.png,train,pets,temple\nflower.png,train,flowers,\ncat2.png,validation,pets,\n"
    data = data_of(tmp_path, photos, rows, names=None)
    assert unknown_texts(data, "cat.png") == {"flowers", "nature"}
    assert unknown_texts(data, "flower.png") == {"pets"}
    left_out = data_of(tmp_path, photos, rows, names=None, leave_out=["pets"])
    assert unknown_texts(left_out, "flower.png") == set()
    soft = torch.full_like(data.soft_targets, -1)
    soft[data.files.index("cat.png"), data.classes["flowers"]] = 0.25
    assert unknown_texts(replace(data, soft_targets=soft), "cat.png") == {"nature"}


def test_terms_of_micro_batches_sum_to_step(tmp_path: Path, photos: Path, init: Checkpoint) -> None:
    data = data_of(tmp_path, photos)
    config = replace(CONFIG, unknown="negative", hierarchy_penalty=2.0, freeze_image=True)
    model = load_model(init)
    objective = TemperedSigmoid(model, data, LABELS, config)
    features = torch.rand((2, len(data.files), model.clip.visual.head.proj.in_features))
    inputs = Inputs([], init.preprocess, config, torch.device("cpu"), features)

    def terms(micro_batches: int) -> dict[str, float]:
        step = torch.arange(5)
        indices = torch.tensor_split(step, micro_batches)
        losses = [
            objective(batch, each, step)
            for batch, each in zip(inputs.batches(indices), indices, strict=True)
        ]
        named = {name: sum(each[name].item() for _, each in losses) for name in losses[0][1]}
        return named | {"total": sum(total.item() for total, _ in losses)}

    whole = terms(1)
    assert terms(3) == pytest.approx(whole, rel=1e-4)
    assert whole["total"] == pytest.approx(
        whole["loss"] + whole["soft_loss"] + whole["unknown_loss"] + 2 * whole["hierarchy_penalty"],
        rel=1e-4,
    )


def test_train_split_without_negatives_needs_loss_of_unknown(tmp_path: Path, photos: Path) -> None:
    data = data_of(tmp_path, photos, POSITIVES_ONLY, names=None)
    with pytest.raises(DataError, match="no label has a known negative in the split train"):
        check_trainable(data, tmp_path)
    check_trainable(data, tmp_path, needs_train_negatives=False)


@pytest.mark.slow
def test_train_command_with_methods_writes_plain_checkpoint(
    tmp_path: Path,
    photos: Path,
    init: Checkpoint,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    manifest, out = write_manifest(tmp_path, POSITIVES_ONLY), tmp_path / "out"
    given = ("--init", init.directory, "--manifest", manifest, "--photos", photos, "--out", out)
    methods = ("--lora", "2", "--hierarchy-penalty", "0.1", "--unknown", "negative")
    fast = ("--device", "cpu", "--epochs", "1", "--batch-size", "2")
    ran = mumic(monkeypatch, capsys, "train", *given, *methods, *fast)
    assert ran.code == 0, ran.err
    assert "trained parameters: " in ran.err
    settings = read_checkpoint(out).card.training["settings"]
    assert (settings["lora_rank"], settings["unknown"]) == (2, "negative")
    header = (tmp_path / "out.run" / "log.csv").read_text().splitlines()[0]
    assert "loss,soft_loss,unknown_loss,hierarchy_penalty,logit_scale" in header
    Classifier.load(out, device="cpu", precision="fp32")
    clip = open_clip.create_model(f"local-dir:{out}", require_pretrained=True, weights_only=True)
    assert clip.state_dict().keys() == load_model(init).clip.state_dict().keys()


@pytest.mark.slow
def test_compiled_low_rank_run_gives_same_weights(
    tmp_path: Path,
    photos: Path,
    init: Checkpoint,
    progress: Progress,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data, config = data_of(tmp_path, photos), replace(CONFIG, lora_rank=2, epochs=1)
    # Traces the tower as for any backend, without compiling C++.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    weights = [
        train(
            init,
            data,
            replace(config, compile=compiled),
            tmp_path / f"{compiled}",
            progress=progress,
        ).model.clip.state_dict()
        for compiled in (False, True)
    ]
    torch.testing.assert_close(weights[1], weights[0], rtol=0, atol=1e-3)
