"""The settings of a training run."""

import math
from dataclasses import dataclass, fields
from typing import Literal

from app.errors import OptionError

Precision = Literal["fp32", "bf16", "fp16"]
BestBy = Literal["auto", "gap-at-10", "macro-map", "last"]


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Settings of a run; the defaults are the paper's (sections 2, 4 and 5.2).

    Attributes:
        learning_rate: peak of AdamW's learning rate.
        weight_decay: on weights that are neither gains nor biases.
        batch_size: photos a step, over all devices and parts.
        parts: in how many parts a device takes its share of a step; more need less memory.
        epochs: passes over the photos of the part train.
        warmup: share of the steps in which the learning rate rises to its peak, before a cosine
            takes it to 0.
        initial_logit_scale: where ln(1 / temperature) starts; None: where the weights have it.
        max_logit_scale: its cap.
        freeze_logit_scale: leave it where it starts.
        soft_target_weight: of a teacher's targets beside the human labels.
        freeze_text: leave the text tower as it is; its embeddings are computed once.
        freeze_image: leave the image tower but its projection as it is; its features are
            computed once.
        min_crop: smallest share of a photo's area that augmentation keeps; 1: all of it.
        compile: compile the image tower (about a minute, then faster steps).
        precision: of the towers' arithmetic; weights, updates and the loss are float32 in any.
        ema_decay: of the moving average of the weights over steps, which is then what is validated
            and written; a horizon of n steps is 1 - 1 / n. None: the weights themselves.
        best_by: the validation metric whose best epoch gives the weights; `auto` is GAP@10 where
            images know more than ten labels on the average, else macro mAP; `last` is no choice.
        seed: of the order of the photos and their augmentation.
        workers: processes that load photos.
        save_every_steps: how often the state is saved for a resume, beside each epoch's end.
    """

    learning_rate: float = 1e-5
    weight_decay: float = 0.01
    batch_size: int = 64
    parts: int = 1
    epochs: int = 3
    warmup: float = 0.1
    initial_logit_scale: float | None = 3.652
    max_logit_scale: float = math.log(100)
    freeze_logit_scale: bool = False
    soft_target_weight: float = 1.0
    freeze_text: bool = False
    freeze_image: bool = False
    min_crop: float = 1.0
    compile: bool = False
    precision: Precision = "fp32"
    ema_decay: float | None = None
    best_by: BestBy = "auto"
    seed: int = 0
    workers: int = 0
    save_every_steps: int = 100

    def __post_init__(self) -> None:
        """Refuse numbers that are not finite.

        Raises:
            OptionError: one is not.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float) and not math.isfinite(value):
                option = field.name.replace("_", "-")
                raise OptionError(option, f"must be a finite number, got {value}")

    def learning_rate_at(self, step: int, total_steps: int) -> float:
        """Learning rate of a step, from 0: a linear rise to the peak, then a cosine to 0."""
        progress = (step + 0.5) / total_steps
        if progress < self.warmup:
            return self.learning_rate * progress / self.warmup
        rest = (progress - self.warmup) / (1 - self.warmup)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * rest))
