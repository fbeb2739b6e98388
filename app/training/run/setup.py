"""What a run starts from: model, inputs, optimizer, and the fingerprint of its settings."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from rich.progress import Progress
from torch import Tensor, nn

from app.core.checkpoint import Checkpoint, load_model
from app.core.images import decoder_fingerprint
from app.core.model import MumicModel
from app.dataset.labelled import LabelledPhotos
from app.training.config import TrainConfig
from app.training.data import Inputs, cached_features

STATE_FORMAT = (
    "ties by validation loss, then the later epoch"  # a state of another format is not resumed
)
CHANGEABLE_ON_RESUME = ("workers", "save_every_steps")  # settings that do not affect the result


def initial_model(init: Checkpoint, config: TrainConfig, device: torch.device) -> MumicModel:
    """Load a checkpoint's towers on a device, and set the initial logit_scale."""
    model = load_model(init).to(device)
    model.clip.visual.to(memory_format=torch.channels_last)
    if config.initial_logit_scale is not None:
        model.logit_scale.data.fill_(config.initial_logit_scale)
    return model


def create_inputs(
    model: MumicModel,
    init: Checkpoint,
    data: LabelledPhotos,
    config: TrainConfig,
    feature_cache: Path,
    *,
    progress: Progress,
    fabric: Fabric,
    pixels: Tensor | None = None,
) -> Inputs:
    """Create the source of batches: features with a frozen image tower, else photos.

    Args:
        model: the towers, on their device.
        init: the checkpoint of the towers.
        data: the photos.
        config: the settings.
        feature_cache: the file of the features.
        progress: shows the time left.
        fabric: the devices.
        pixels: (N, 3, S, S) uint8, the decoded photos, if they are in memory.
    """
    paths, features = [data.photos / file for file in data.files], None
    if config.freeze_image:
        with fabric.rank_zero_first():
            features = cached_features(
                model,
                paths,
                init.preprocess,
                feature_cache,
                progress=progress,
                workers=config.workers,
                pixels=pixels,
            )
    return Inputs(paths, init.preprocess, config, model.device, features, pixels)


def adamw(module: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW over the parameters that require a gradient; gains and biases do not decay (section 4).

    Args:
        module: the trained module.
        config: learning rate and weight decay.
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    gains_and_biases = [parameter for parameter in trained if parameter.ndim < 2]
    matrices = [parameter for parameter in trained if parameter.ndim >= 2]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": gains_and_biases, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)


def trained_parameters(module: nn.Module) -> str:
    """Return how many parameters are trained, and the size of their gradients and moments."""
    parameters = list(module.parameters())
    total = sum(parameter.numel() for parameter in parameters)
    trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    return (
        f"trained parameters: {trained:,} of {total:,}; their gradients: "
        f"{4 * trained / 1e6:,.1f} MB, the optimizer's state: {8 * trained / 1e6:,.1f} MB"
    )


def run_fingerprint(
    init: Checkpoint, data: LabelledPhotos, config: TrainConfig, objective: Mapping[str, Any]
) -> str:
    """A hash of everything that determines the result of a run.

    Args:
        init: the initial weights.
        data: photos, texts and targets.
        config: the settings.
        objective: the name of the objective, and its own settings.
    """
    settings = {
        name: value for name, value in asdict(config).items() if name not in CHANGEABLE_ON_RESUME
    }
    digest = hashlib.sha256()
    for value in (
        STATE_FORMAT,
        settings,
        dict(objective),
        init.card.sha256,
        decoder_fingerprint(),
        data.files,
        data.splits,
        data.texts,
    ):
        digest.update(json.dumps(value).encode())
    for tensor in (data.targets, data.soft_targets, data.positive_weights):
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
