"""A tiny CLIP model that tests build, and a live server around it."""

import contextlib
import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import open_clip
import torch
from fastapi import FastAPI
from open_clip.model import CustomTextCLIP

from app.core.checkpoint import (
    read_checkpoint,
    write_checkpoint,
    write_zero_shot_calibration,
)
from app.core.classifier import Classifier
from app.core.labels import LabelSet, builtin_label_set
from app.core.model import Moments, MumicModel, ZeroShotCalibration
from app.serving.listening import bind
from app.serving.process import Server, server_config
from app.settings import Settings

SHIFT = 70.0  # many times the length of an embedding before it is normalised
SHUTDOWN_TIMEOUT_S = 60  # longer than the server's 30 s to finish requests
CONFIG: dict[str, Any] = {
    "model_cfg": {
        "embed_dim": 32,
        "custom_text": True,
        "quick_gelu": True,
        "vision_cfg": {
            "image_size": 64,
            "layers": 2,
            "width": 64,
            "head_width": 32,
            "patch_size": 16,
        },
        "text_cfg": {
            "context_length": 32,
            "vocab_size": 49408,
            "width": 32,
            "heads": 2,
            "layers": 2,
        },
    },
    "preprocess_cfg": {
        "size": 64,
        "mode": "RGB",
        "mean": [0.48145466, 0.4578275, 0.40821073],
        "std": [0.26862954, 0.26130258, 0.27577711],
        "interpolation": "bicubic",
        "resize_mode": "squash",
    },
}

DIMENSION: int = CONFIG["model_cfg"]["embed_dim"]
CALIBRATION = ZeroShotCalibration(
    photos=Moments(
        torch.linspace(-0.1, 0.1, DIMENSION), torch.diag(torch.linspace(0.01, 0.03, DIMENSION))
    ),
    texts=Moments(
        torch.linspace(0.2, 0.0, DIMENSION), torch.diag(torch.linspace(0.02, 0.01, DIMENSION))
    ),
    scale=1.5,
    offset=-2.0,
)


def tiny_model(seed: int = 0) -> MumicModel:
    """Build random towers, with weights scaled so that activations matter as in a trained model."""
    torch.manual_seed(seed)
    config = {key: value for key, value in CONFIG["model_cfg"].items() if key != "custom_text"}
    clip = CustomTextCLIP(**config)
    with torch.no_grad():
        for parameter in clip.parameters():
            if parameter.ndim >= 2:
                parameter.mul_(3)
    return MumicModel(clip.eval(), open_clip.SimpleTokenizer(context_length=32))


def write_tiny(
    directory: Path,
    labels: LabelSet | None = None,
    seed: int = 0,
    version: str = "1.2.3",
    logit_scale: float | None = None,
    mean_cosine: float | None = None,
) -> Path:
    """Write a tiny checkpoint, by default with the built-in label set and cosines around 0."""
    model = tiny_model(seed)
    if mean_cosine is not None:
        _shift_cosines(model.clip, mean_cosine)
    if logit_scale is not None:
        model.logit_scale.data.fill_(logit_scale)
    write_checkpoint(
        directory,
        model,
        CONFIG,
        labels or builtin_label_set(),
        name="tiny",
        version=version,
        readme="# tiny\n",
        dtype=torch.float32,
    )
    return directory


def write_calibrated(checkpoint: Path, directory: Path) -> Path:
    """Write a copy of a tiny checkpoint with `CALIBRATION` of zero-shot scores."""
    write_zero_shot_calibration(read_checkpoint(checkpoint), CALIBRATION, directory, {})
    return directory


def _shift_cosines(clip: CustomTextCLIP, mean: float) -> None:
    """Add one vector to all image embeddings and one to all texts, whose cosine is the mean.

    Two dimensions are for these vectors alone, so that they do not change the order of the cosines.
    """
    first, second = torch.eye(CONFIG["model_cfg"]["embed_dim"])[:2]
    towers = (
        (clip.visual.ln_post, clip.visual.proj, first),
        (
            *(clip.text.ln_final, clip.text.text_projection),
            mean * first + math.sqrt(1 - mean**2) * second,
        ),
    )
    for norm, projection, direction in towers:
        norm.weight.data[0], norm.bias.data[0] = 0, 1  # the first feature is constant
        projection.data[:, :2] = 0
        projection.data[0] = SHIFT * direction


class SaturatedClassifier(Classifier):
    """A real classifier with a temperature so low that its probabilities are exactly 0 or 1."""

    def __init__(self, real: Classifier) -> None:
        vars(self).update(vars(real))
        self.logit_scale = math.log(2000)


@contextlib.contextmanager
def live_server(app: FastAPI, settings: Settings | None = None) -> Iterator[str]:
    """Serve an app on a free loopback port, as `mumic serve` does, and yield its address."""
    bound = bind("127.0.0.1", 0)
    server = Server(server_config(app, settings or Settings()))
    thread = threading.Thread(target=server.run, args=[[bound]], daemon=True)
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise RuntimeError("the server did not start")
            thread.join(0.01)
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(SHUTDOWN_TIMEOUT_S)
        bound.close()
        assert not thread.is_alive(), "the server did not stop"
