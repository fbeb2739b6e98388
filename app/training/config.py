"""The settings of a training run."""

import math
from dataclasses import dataclass, fields
from typing import Literal

from app.errors import OptionError

Precision = Literal["fp32", "bf16", "fp16"]
BestBy = Literal["auto", "gap-at-10", "macro-map", "last"]
Unknown = Literal["ignore", "negative"]


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Settings of a run; the defaults are the paper's (sections 2, 4 and 5.2).

    Attributes:
        learning_rate: peak of AdamW's learning rate.
        weight_decay: applied to weights other than gains and biases.
        batch_size: photos per optimizer step, over all devices and micro-batches.
        micro_batches: number of micro-batches that a device splits its share of a step into; more
            need less memory.
        epochs: how often every photo of the train split is used.
        warmup: share of the steps in which the learning rate rises linearly to its peak; a cosine
            then takes it to 0.
        initial_logit_scale: initial ln(1 / temperature); None: as in the initial weights.
        max_logit_scale: upper bound of logit_scale.
        freeze_logit_scale: do not train logit_scale.
        soft_target_weight: weight of the loss on a teacher's targets, added to the loss on the
            human labels.
        unknown: the loss of pairs without a human label and without a teacher's target
            (`app.training.objective.losses.unknown_loss`); `ignore`: none.
        hierarchy_penalty: weight of the penalty on labels that are more probable than their parents
            (`app.training.objective.losses.hierarchy_penalty`).
        lora_rank: rank of trained updates of the weight matrices, instead of the matrices
            (`app.training.objective.low_rank`); None: the matrices are trained.
        freeze_text: do not train the text tower; its embeddings are computed once.
        freeze_image: of the image tower, train only the projection; the features before it are
            computed once.
        min_crop: smallest share of a photo's area that augmentation keeps; 1: no cropping.
        compile: compile the image tower (about a minute, then faster steps).
        precision: of the towers' arithmetic; weights, updates and the loss are always float32.
        ema_decay: decay per step of the moving average of the weights, which is then validated
            and written; a horizon of n steps is 1 - 1 / n. None: no averaging.
        best_by: the validation metric that selects the best epoch. `auto` is GAP@10 where images
            have more than ten known labels on average, else macro mAP; `last` takes the last
            epoch.
        seed: of the order of the photos and their augmentation.
        workers: processes that load photos.
        save_every_steps: steps between two saved states; a state is also saved after each epoch.
    """

    learning_rate: float = 1e-5
    weight_decay: float = 0.01
    batch_size: int = 64
    micro_batches: int = 1
    epochs: int = 3
    warmup: float = 0.1
    initial_logit_scale: float | None = 3.652
    max_logit_scale: float = math.log(100)
    freeze_logit_scale: bool = False
    soft_target_weight: float = 1.0
    unknown: Unknown = "ignore"
    hierarchy_penalty: float = 0.0
    lora_rank: int | None = None
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
        """Reject numbers that are not finite.

        Raises:
            OptionError: a number is infinite or NaN.
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
