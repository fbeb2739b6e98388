"""Training on two processes, in micro-batches and in bf16 matches training on one in fp32."""

import multiprocessing
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from rich.progress import Progress

from app.core.checkpoint import Checkpoint, load_model, read_checkpoint
from app.dataset.labelled import LabelledPhotos
from app.errors import OptionError
from app.training.config import Precision
from app.training.data import Inputs
from app.training.objective import TemperedSigmoid
from app.training.run import create_fabric, train
from tests.support.tiny import write_tiny
from tests.support.training_set import LABELS, data_of, write_photos
from tests.support.two_processes import ONE, TWO, train_together


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos, a manifest, and an image tower without batch statistics."""
    folder = tmp_path_factory.mktemp("together")
    write_photos(folder / "photos")
    write_tiny(folder / "init", LABELS)
    return folder


@pytest.fixture(scope="module")
def init(folder: Path) -> Checkpoint:
    return read_checkpoint(folder / "init")


@pytest.fixture(scope="module")
def data(folder: Path) -> LabelledPhotos:
    return data_of(folder, folder / "photos")


@pytest.fixture(scope="module")
def together(folder: Path, data: LabelledPhotos) -> Mapping[str, Any]:
    """Results of training on two processes."""
    assert len(data.files) == 7  # it also writes the manifest that they read
    multiprocessing.set_forkserver_preload([train_together.__module__])  # torch once, not twice
    strategy = DDPStrategy(start_method="forkserver")
    fabric = Fabric(accelerator="cpu", devices=2, strategy=strategy)
    fabric.launch(partial(train_together, folder=folder))
    return {path.stem: torch.load(path) for path in folder.glob("*-?.pt")}


@pytest.mark.slow
def test_two_processes_match_one(
    tmp_path: Path, init: Checkpoint, data: LabelledPhotos, together: Mapping[str, Any]
) -> None:
    alone = train(init, data, ONE, tmp_path / "run", progress=Progress(disable=True))
    for name in ("plain-0", "plain-1"):
        for row, expected in zip(together[name]["history"], alone.history, strict=True):
            assert row == pytest.approx(expected, rel=1e-4, nan_ok=True)
    model = load_model(init)
    model.clip.load_state_dict(together["plain-0"]["weights"])
    tokens = model.tokenize(data.texts)
    with torch.no_grad():
        torch.testing.assert_close(
            model.encode_text(tokens), alone.model.encode_text(tokens), rtol=0, atol=2e-3
        )


@pytest.mark.slow
def test_two_processes_have_equal_weights(together: Mapping[str, Any]) -> None:
    for name in ("plain", "whole", "resumed"):
        first, second = (together[f"{name}-{rank}"]["weights"] for rank in (0, 1))
        torch.testing.assert_close(first, second, rtol=0, atol=0)


@pytest.mark.slow
def test_two_killed_processes_resume_to_same_weights(together: Mapping[str, Any]) -> None:
    whole, resumed = together["whole-0"], together["resumed-0"]
    torch.testing.assert_close(resumed["weights"], whole["weights"], rtol=0, atol=0)
    assert str(resumed["history"]) == str(whole["history"])  # as text, since NaN != NaN


def test_micro_batch_gradients_sum_to_step(init: Checkpoint, data: LabelledPhotos) -> None:
    config = replace(ONE, min_crop=0.5)
    model = load_model(init)
    objective = TemperedSigmoid(model, data, init.labels, config)
    paths = [data.photos / file for file in data.files]
    inputs = Inputs(paths, init.preprocess, config, torch.device("cpu"))

    def gradient(micro_batches: int) -> tuple[float, torch.Tensor]:
        step = torch.arange(5)
        indices = torch.tensor_split(step, micro_batches)
        loss = torch.zeros(())
        for batch, each in zip(inputs.batches(indices, epoch=0), indices, strict=True):
            loss = loss + objective(batch, each, step)[0]
        weight = model.clip.visual.conv1.weight
        return loss.item(), torch.autograd.grad(loss, weight)[0]

    (whole, expected), (summed, found) = gradient(1), gradient(3)
    assert summed == pytest.approx(whole, rel=1e-5)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)


def test_bf16_run_has_float32_weights_and_similar_loss(
    tmp_path: Path, init: Checkpoint, data: LabelledPhotos
) -> None:
    first = {}
    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    for precision in precisions:
        config = replace(TWO, precision=precision)
        folder = tmp_path / precision
        trained = train(init, data, config, folder, progress=Progress(disable=True))
        first[precision] = trained.history[0]["loss"]
        assert {w.dtype for w in trained.model.clip.parameters()} == {torch.float32}
    assert first["bf16"] != first["fp32"]
    assert first["bf16"] == pytest.approx(first["fp32"], rel=0.05)


def test_impossible_devices_and_micro_batches_are_refused(
    tmp_path: Path, init: Checkpoint, data: LabelledPhotos
) -> None:
    with pytest.raises(OptionError, match="parts: a step of 4 photos cannot be split into 5"):
        train(init, data, replace(ONE, micro_batches=5), tmp_path, progress=Progress(disable=True))
    with pytest.raises(OptionError, match="fp16 needs a GPU"):
        create_fabric(torch.device("cpu"), "fp16")
    with pytest.raises(OptionError, match="devices: 9 are not available"):
        create_fabric(torch.device("cuda"), "fp32", devices=9)
