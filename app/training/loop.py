"""The training loop: from a checkpoint and targets to a better checkpoint."""

import csv
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from rich.progress import Progress
from torch import Tensor, nn
from torch.utils.data import DataLoader

from app.core.checkpoint import Checkpoint, load_model
from app.core.model import MumicModel
from app.core.preprocess import Preprocess, normalize
from app.core.scoring import cosines, l2_normalize
from app.dataset.labelled import LabelledPhotos
from app.dataset.photos import Photos, is_mirrored
from app.dataset.soft_targets import UNKNOWN
from app.evaluation.embedding import embed_texts
from app.evaluation.metrics import macro_map
from app.training.config import TrainConfig
from app.training.features import cached_features, trunk_and_head
from app.training.losses import tempered_bce
from app.training.state import History, load_state, save_state
from app.training.validation import evaluate

LOG_EVERY_STEPS = 10


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run gives.

    Attributes:
        model: the towers, in evaluation mode.
        history: rows of the log; those that end an epoch have `macro_map` and `ap_NAME` on the
            part validation.
    """

    model: MumicModel
    history: History

    @property
    def validation(self) -> dict[str, float]:
        """Average precision of each class on the part validation, after the last epoch."""
        last = self.history[-1]
        return {k.removeprefix("ap_"): v for k, v in last.items() if k.startswith("ap_")}


def train(
    init: Checkpoint,
    data: LabelledPhotos,
    config: TrainConfig,
    run_folder: Path,
    *,
    progress: Progress,
    device: torch.device | None = None,
    feature_cache: Path | None = None,
) -> Trained:
    """Fine-tune both towers on the tempered-sigmoid loss (section 2).

    A run that was killed goes on from its last saved step when it is started again with the same
    arguments, and ends with the weights that it would have had.

    Args:
        init: where the weights start.
        data: photos, texts and targets.
        config: the settings.
        run_folder: where the state of the run and its `log.csv` are kept.
        progress: where the time left is shown.
        device: where to train; the CPU by default.
        feature_cache: with `freeze_image`, where the features are kept from run to run.

    Raises:
        OptionError: the state in `run_folder` is of another run.
        DataError: a photo cannot be used.
    """
    torch.manual_seed(config.seed)
    model = _start(init, config, device or torch.device("cpu"))
    optimizer = _optimizer(model, config)
    state_file, fingerprint = run_folder / "state.pt", _fingerprint(init, data, config)
    state = load_state(state_file, fingerprint)
    if state.step:
        model.clip.load_state_dict(state.weights)
        optimizer.load_state_dict(dict(state.optimizer))

    source = _Source(init.preprocess, [data.photos / file for file in data.files], config)
    encode = model.clip.visual
    if config.freeze_image:
        encode = trunk_and_head(model)[1]
        cache = feature_cache or run_folder / "features.safetensors"
        source.features = cached_features(
            model, source.paths, init.preprocess, cache, progress=progress, workers=config.workers
        )
    elif config.compile:
        encode = torch.compile(encode)
    tokens = model.tokenize(data.texts).to(model.device)
    text_embeddings = embed_texts(model, tokens) if config.freeze_text else None
    losses = _Losses.of(data, model.device)

    train_indices = data.indices("train")
    steps_per_epoch = len(epoch_batches(train_indices, config, epoch=0))
    total_steps = config.epochs * steps_per_epoch
    task = progress.add_task("training", total=total_steps, completed=state.step)

    for epoch in range(state.step // steps_per_epoch, config.epochs):
        _train_mode(model, config)
        batches = epoch_batches(train_indices, config, epoch)[state.step % steps_per_epoch :]
        for inputs, indices in source.batches(batches, epoch):
            learning_rate = config.learning_rate_at(state.step, total_steps)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            images = l2_normalize(encode(inputs.to(model.device)))
            texts = model.encode_text(tokens) if text_embeddings is None else text_embeddings
            loss, soft = losses(cosines(images, texts), indices, model.logit_scale)
            torch.autograd.backward(loss + config.soft_target_weight * soft)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            model.logit_scale.data.clamp_(max=config.max_logit_scale)
            state.step += 1
            progress.update(task, completed=state.step, description=f"loss {loss.item():.3f}")
            ends_epoch = state.step % steps_per_epoch == 0
            if state.step % LOG_EVERY_STEPS == 0 or ends_epoch:
                row = {
                    "step": state.step,
                    "learning_rate": learning_rate,
                    "loss": loss.item(),
                    "soft_loss": soft.item(),
                    "logit_scale": model.logit_scale.item(),
                }
                state.history.append(row)
            if ends_epoch:
                ap = evaluate(model, init.preprocess, data, "validation", source.features)
                row |= {"macro_map": macro_map(list(ap.values()))}
                row |= {f"ap_{name}": value for name, value in ap.items()}
            if state.step % config.save_every_steps == 0 or ends_epoch:
                state.weights, state.optimizer = model.clip.state_dict(), optimizer.state_dict()
                save_state(state_file, state, fingerprint)
                _write_log(run_folder / "log.csv", state.history)

    model.eval()
    return Trained(model, state.history)


def epoch_batches(indices: Tensor, config: TrainConfig, epoch: int) -> list[Tensor]:
    """The photos of each step of an epoch, in an order that seed and epoch decide.

    The photos that do not fill a last batch sit the epoch out.
    """
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + epoch)
    shuffled = indices[torch.randperm(len(indices), generator=generator)]
    batches = list(torch.split(shuffled, config.batch_size))
    return batches[:-1] if len(batches) > 1 and len(batches[-1]) < config.batch_size else batches


@dataclass(frozen=True, slots=True)
class _Losses:
    """The human labels' loss and the teacher's, which speaks where no human did."""

    targets: Tensor
    soft_targets: Tensor
    positive_weights: Tensor

    @classmethod
    def of(cls, data: LabelledPhotos, device: torch.device) -> Self:
        soft = torch.where(data.targets < 0, data.soft_targets.float(), UNKNOWN)
        return cls(data.targets.to(device), soft.to(device), data.positive_weights.to(device))

    def __call__(
        self, cosine: Tensor, indices: Tensor, logit_scale: Tensor
    ) -> tuple[Tensor, Tensor]:
        human, soft = (
            tempered_bce(cosine, targets[indices], logit_scale, self.positive_weights)
            for targets in (self.targets, self.soft_targets)
        )
        return human, soft


@dataclass(slots=True)
class _Source:
    """Where the input of the image tower's unfrozen part comes from: pixels, or features."""

    preprocess: Preprocess
    paths: list[Path]
    config: TrainConfig
    features: Tensor | None = None

    def batches(self, batches: list[Tensor], epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs of each batch, and the indices of its photos."""
        seed = self.config.seed
        if self.features is not None:
            for batch in batches:
                draws = [np.random.default_rng((seed, epoch, int(i))) for i in batch]
                yield self.features[[int(is_mirrored(draw)) for draw in draws], batch], batch
            return
        photos = Photos(self.paths, self.preprocess, (seed, epoch), self.config.min_crop)
        order = [batch.tolist() for batch in batches]
        loader = DataLoader(photos, batch_sampler=order, num_workers=self.config.workers)
        for batch, pixels in zip(batches, loader, strict=True):
            images = normalize(pixels, self.preprocess, torch.float32)
            yield images.contiguous(memory_format=torch.channels_last), batch


def _start(init: Checkpoint, config: TrainConfig, device: torch.device) -> MumicModel:
    model = load_model(init.directory).to(device)
    model.clip.visual.to(memory_format=torch.channels_last)
    if config.initial_logit_scale is not None:
        model.logit_scale.data.fill_(config.initial_logit_scale)
    if config.freeze_text:
        for parameter in _text_parameters(model):
            parameter.requires_grad_(False)
    if config.freeze_image:
        trunk_and_head(model)[0].requires_grad_(False)
    return model


def _text_parameters(model: MumicModel) -> list[nn.Parameter]:
    image = {id(parameter) for parameter in model.clip.visual.parameters()}
    others = [parameter for parameter in model.clip.parameters() if id(parameter) not in image]
    return [parameter for parameter in others if parameter is not model.logit_scale]


def _train_mode(model: MumicModel, config: TrainConfig) -> None:
    model.train()
    if config.freeze_text:
        model.clip.eval()
        model.clip.visual.train()
    if config.freeze_image:
        trunk_and_head(model)[0].eval()


def _optimizer(model: MumicModel, config: TrainConfig) -> torch.optim.AdamW:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gains_and_biases = [parameter for parameter in trained if parameter.ndim < 2]
    matrices = [parameter for parameter in trained if parameter.ndim >= 2]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": gains_and_biases, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)


def _fingerprint(init: Checkpoint, data: LabelledPhotos, config: TrainConfig) -> str:
    digest = hashlib.sha256()
    for part in (asdict(config), init.card.sha256, data.files, data.parts, data.texts):
        digest.update(json.dumps(part).encode())
    for tensor in (data.targets, data.soft_targets, data.positive_weights):
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def _write_log(path: Path, history: History) -> None:
    partial = path.with_suffix(".partial")
    columns = dict.fromkeys(column for row in history for column in row)
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(history)
    partial.replace(path)
