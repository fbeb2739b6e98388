"""The requests of `mumic train` and `mumic tune`."""

from pathlib import Path
from typing import Any

from pydantic import Field

from app.dataset.requests import DatasetRequest
from app.training.config import BestBy, TrainConfig, Unknown

PAPER = TrainConfig()


class RunRequest(DatasetRequest):
    """The options that all training runs share."""

    init: Path = Field(description="checkpoint directory to start from")
    leave_out: tuple[str, ...] = Field(
        (), description="do not use human labels of this name (repeatable)"
    )
    epochs: int = Field(PAPER.epochs, ge=1)
    batch_size: int = Field(
        PAPER.batch_size, ge=1, description="photos per step, over all devices and micro-batches"
    )
    learning_rate: float = Field(PAPER.learning_rate, ge=0)
    freeze_image: bool = Field(False, description="freeze the image tower, except its projection")
    seed: int = Field(PAPER.seed, ge=0)
    max_bad_photos: float = Field(
        0.01, ge=0, description="photos that may fail to decode: a count, or below 1 a share"
    )

    def train_config(self, **settings: Any) -> TrainConfig:
        """Return the settings common to the request and `TrainConfig`, updated with `settings`."""
        shared = TrainConfig.__dataclass_fields__.keys() & type(self).model_fields.keys()
        return TrainConfig(**{name: getattr(self, name) for name in shared} | settings)


class FullRunRequest(RunRequest):
    """A training run whose result is written, on one device or several."""

    micro_batches: int = Field(
        PAPER.micro_batches,
        ge=1,
        description="micro-batches that a device splits its share of a step into (memory)",
    )
    weight_decay: float = Field(PAPER.weight_decay, ge=0)
    warmup: float = Field(PAPER.warmup, ge=0, le=1, description="share of steps")
    min_crop: float = Field(
        PAPER.min_crop,
        ge=0.05,
        le=1,
        description="least share of a photo that augmentation keeps",
    )
    ema_decay: float | None = Field(
        PAPER.ema_decay,
        ge=0,
        le=0.999999,
        description="write a moving average of the weights, with this decay per step, e.g. 0.99",
    )
    best_by: BestBy = Field(
        PAPER.best_by,
        description="the validation metric that chooses the epoch; auto: gap-at-10 where images "
        "have more than ten known labels on average, else macro-map",
    )
    compile: bool = Field(False, description="compile the image tower")
    devices: int = Field(1, ge=1, description="number of devices; each has its own process")
    precision: str = Field(
        "auto", description="precision of the towers: auto, fp32, bf16 or fp16; auto: fp32 on a CPU"
    )
    cache_photos: bool = Field(False, description="decode photos once and keep them in memory")


class TrainRequest(FullRunRequest):
    """Fine-tune a checkpoint on labelled photos."""

    out: Path = Field(description="checkpoint directory to write")
    soft_targets: Path | None = Field(None, description="safetensors: a teacher's targets")
    name: str | None = Field(None, description="the checkpoint's name; default: OUT's")
    version: str = Field("0.1.0", description="the checkpoint's version")
    positive_weight: float = Field(
        10.0, ge=0, description="weight of texts that are not a label's prompt"
    )
    soft_target_weight: float = Field(PAPER.soft_target_weight, ge=0)
    unknown: Unknown = Field(
        PAPER.unknown,
        description="loss of pairs without a label: ignore: none; negative: as if absent",
    )
    hierarchy_penalty: float = Field(
        PAPER.hierarchy_penalty,
        ge=0,
        description="weight of the penalty on labels that are more probable than their parents, "
        "e.g. 0.1",
    )
    lora_rank: int | None = Field(
        PAPER.lora_rank,
        ge=1,
        description="train updates of this rank instead of the weight matrices (LoRA), e.g. 4",
    )
    initial_logit_scale: float | None = Field(PAPER.initial_logit_scale)
    keep_logit_scale: bool = Field(False, description="start from the weights' own logit_scale")
    freeze_logit_scale: bool = Field(False, description="keep logit_scale at its initial value")
    max_logit_scale: float = Field(PAPER.max_logit_scale)
    freeze_text: bool = False
    feature_cache: Path | None = Field(
        None, description="cache file of the frozen tower's features; runs can share it"
    )


class TuneRequest(RunRequest):
    """Search for the best initial logit_scale."""

    out: Path = Field(description="folder of the search; an unfinished search is resumed")
    soft_targets: Path | None = Field(None, description="safetensors: a teacher's targets")
    trials: int = Field(15, ge=1, description="runs in all")
    random_trials: int = Field(4, ge=1, description="number of random trials at the start")
    low: float = Field(0.7, description="least initial logit_scale")
    high: float | None = Field(None, description="greatest; default: --max-logit-scale")
    max_logit_scale: float = Field(PAPER.max_logit_scale, description="cap of logit_scale")
    epochs: int = Field(PAPER.epochs, ge=1, description="epochs of each run")
    freeze_text: bool = False
    seed: int = Field(PAPER.seed, ge=0, description="seed of the search and of each run")
