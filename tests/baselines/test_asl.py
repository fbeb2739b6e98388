"""The ASL baseline: the loss compared with naive loops, and a classifier's training and scores."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.progress import Progress
from torch import nn

from app.baselines.asl import AslSettings, load_asl, train_asl
from app.baselines.asl.asymmetric_loss import asymmetric_loss
from app.core.checkpoint import Checkpoint
from app.errors import CheckpointError
from app.training.config import TrainConfig
from tests.support.training_set import NAMES, data_of

pytestmark = pytest.mark.slow

CONFIG = TrainConfig(learning_rate=3e-3, batch_size=2, epochs=8, warmup=0)


def naive_loss(
    x: float, y: float, gamma_negative: float, gamma_positive: float, clip: float
) -> float:
    if y < 0:
        return 0.0
    p = 1 / (1 + math.exp(-x))
    shifted = max(p - clip, 0.0)
    if y == 1:
        return -math.pow(1 - p, gamma_positive) * math.log(p)
    return -math.pow(shifted, gamma_negative) * math.log(1 - shifted)


@given(
    st.lists(st.tuples(st.floats(-8, 8, width=32), st.sampled_from([1.0, 0.0, -1.0])), min_size=1),
    st.floats(0, 6),
    st.floats(0, 6),
    st.sampled_from([0.0, 0.05, 0.3]),
)
def test_loss_equals_naive_loops(
    pairs: list[tuple[float, float]], gamma_negative: float, gamma_positive: float, clip: float
) -> None:
    logits, targets = (torch.tensor([column]) for column in zip(*pairs, strict=True))
    loss = asymmetric_loss(
        logits, targets, gamma_negative=gamma_negative, gamma_positive=gamma_positive, clip=clip
    )
    losses = [naive_loss(x, y, gamma_negative, gamma_positive, clip) for x, y in pairs]
    known = sum(y >= 0 for _, y in pairs)
    assert loss.item() == pytest.approx(sum(losses) / max(known, 1), rel=1e-3, abs=1e-6)


def test_loss_without_focusing_and_clipping_equals_torch_bce() -> None:
    logits = torch.tensor([[-80.0, 3.0, 80.0, 0.5]], requires_grad=True)
    targets = torch.tensor([[1.0, 0.0, 0.0, 1.0]])
    loss = asymmetric_loss(logits, targets, gamma_negative=0, gamma_positive=0, clip=0)
    torch.testing.assert_close(loss, nn.BCEWithLogitsLoss()(logits, targets))
    torch.autograd.backward(loss)
    assert logits.grad is not None
    expected = (logits.detach().sigmoid() - targets) / 4
    torch.testing.assert_close(logits.grad, expected)


def test_loss_of_easy_negative_is_zero() -> None:
    logits = torch.tensor([[-3.5]], requires_grad=True)
    loss = asymmetric_loss(logits, torch.zeros(1, 1), clip=0.05)
    torch.autograd.backward(loss)
    assert loss.item() == 0.0
    assert logits.grad is not None and logits.grad.item() == 0.0


def test_trained_classifier_scores_photos_after_reload(
    tmp_path: Path, photos: Path, init: Checkpoint, progress: Progress
) -> None:
    data = data_of(tmp_path, photos)
    trained = train_asl(init, data, CONFIG, tmp_path / "asl", progress=progress)
    read = load_asl(tmp_path / "asl")
    paths = [photos / file for file in data.files]
    scores = read.score(paths)
    torch.testing.assert_close(scores, trained.score(paths))
    assert read.names == tuple(NAMES)
    assert scores.shape == (7, 4)
    assert scores.dtype == torch.float32
    cat = scores[:, read.names.index("cat")]
    assert cat[data.files.index("cat.png")] > cat[data.files.index("coffee.png")]
    assert read.card.training["settings"]["gamma_negative"] == 4.0
    assert read.card.metrics["validation"]["ap_cat"] > 0
    assert not (tmp_path / "asl.run" / "state.pt").exists()


def test_loss_falls_and_settings_change_result(
    tmp_path: Path, photos: Path, init: Checkpoint, progress: Progress
) -> None:
    data = data_of(tmp_path, photos)
    config = replace(CONFIG, freeze_image=True, epochs=20)
    settings = AslSettings(gamma_negative=0, clip=0)
    one = train_asl(init, data, config, tmp_path / "one", progress=progress)
    other = train_asl(init, data, config, tmp_path / "two", progress=progress, settings=settings)
    assert not torch.equal(one.head.weight, other.head.weight)
    rows = (tmp_path / "one.run" / "log.csv").read_text().splitlines()
    losses = [float(row.split(",")[rows[0].split(",").index("loss")]) for row in rows[1:]]
    assert losses[-1] < losses[0]


def test_altered_directory_is_refused(
    tmp_path: Path, photos: Path, init: Checkpoint, progress: Progress
) -> None:
    config = replace(CONFIG, epochs=1, freeze_image=True)
    train_asl(init, data_of(tmp_path, photos), config, tmp_path / "asl", progress=progress)
    weights = tmp_path / "asl" / "asl.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(CheckpointError, match=r"asl\.safetensors: its sha256"):
        load_asl(tmp_path / "asl")
    with pytest.raises(CheckpointError, match="not an ASL classifier"):
        load_asl(tmp_path)
