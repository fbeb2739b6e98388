"""What a run trains, what that costs, and how it scores photos."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Self, cast

import torch
from torch import Tensor, nn

from app.core.model import MumicModel, cosines, l2_normalize
from app.dataset.labelled import UNKNOWN, LabelledPhotos
from app.evaluation.predictions import embed_texts
from app.training.config import TrainConfig
from app.training.data import trunk_and_head
from app.training.objective.losses import tempered_bce

Costs = dict[str, Tensor]


class Objective(nn.Module, ABC):
    """What a run trains, what that costs, and how it scores photos.

    Its parameters that want a gradient are trained; its buffers travel between devices, so what
    is large and fixed, such as targets, is a plain attribute.
    """

    @property
    @abstractmethod
    def weights(self) -> nn.Module:
        """The part whose weights a run saves, averages and gives."""

    @abstractmethod
    def forward(self, inputs: Tensor, indices: Tensor, step: Tensor) -> tuple[Tensor, Costs]:
        """The share of some photos in a step's cost.

        Args:
            inputs: (B, ...) as `Inputs` yields them.
            indices: (B,) positions of these photos.
            step: (S,) positions of all photos of the step, over whose pairs the cost is a mean.

        Returns:
            Scalar float32 to minimise, and its named parts, detached, for the log.
        """

    @abstractmethod
    def scores(self, inputs: Iterable[Tensor]) -> Tensor:
        """Score photos for each class of the data, in evaluation mode.

        Args:
            inputs: batches of N photos in all.

        Returns:
            (N, C) float32 on the CPU, higher is surer.
        """

    def after_step(self) -> None:
        """Bring weights back to where they may be; by default they may be anywhere."""

    def measures(self) -> dict[str, float]:
        """What else the log tells of the weights."""
        return {}


class TemperedSigmoid(Objective):
    """The paper's: tempered-sigmoid cross-entropy of all photos and label texts (section 2).

    Args:
        model: the towers, on their device.
        data: photos, texts and targets; a teacher's targets speak where no human did.
        config: what is frozen and how the towers run.
    """

    def __init__(self, model: MumicModel, data: LabelledPhotos, config: TrainConfig) -> None:
        super().__init__()
        self.model = model
        self._config = config
        freeze(model, config)
        soft = torch.where(data.targets < 0, data.soft_targets.float(), UNKNOWN)
        self._targets, self._soft_targets, self._positive_weights = (
            each.to(model.device) for each in (data.targets, soft, data.positive_weights)
        )
        self._tokens = model.tokenize(data.texts).to(model.device)
        self._texts = embed_texts(model, self._tokens) if config.freeze_text else None
        self._classes = list(data.classes.values())
        self._tower, self._encode = image_stage(model, config)

    @property
    def weights(self) -> nn.Module:
        """Both towers and logit_scale."""
        clip: nn.Module = self.model.clip
        return clip

    def train(self, mode: bool = True) -> Self:
        """Frozen towers stay in evaluation mode."""
        super().train(mode)
        keep_frozen_still(self.model, self._config)
        return self

    def forward(self, inputs: Tensor, indices: Tensor, step: Tensor) -> tuple[Tensor, Costs]:
        """Equations 1 and 2, of the human labels and of the teacher's."""
        images = l2_normalize(self._encode(inputs))
        texts = self.model.encode_text(self._tokens) if self._texts is None else self._texts
        with torch.autocast(images.device.type, enabled=False):
            cosine = cosines(images, texts)
            human, soft = (
                tempered_bce(
                    cosine,
                    targets[indices],
                    self.model.logit_scale,
                    self._positive_weights,
                    (targets[step] >= 0).sum(),
                )
                for targets in (self._targets, self._soft_targets)
            )
        cost = human + self._config.soft_target_weight * soft
        return cost, {"loss": human.detach(), "soft_loss": soft.detach()}

    @torch.no_grad()
    def scores(self, inputs: Iterable[Tensor]) -> Tensor:
        """Cosines with the text of each class's name."""
        self.eval()
        texts = embed_texts(self.model, self._tokens[self._classes])
        rows = [cosines(l2_normalize(self._tower(batch)), texts).cpu() for batch in inputs]
        return torch.cat(rows)

    def after_step(self) -> None:
        """Cap logit_scale."""
        self.model.logit_scale.data.clamp_(max=self._config.max_logit_scale)

    def measures(self) -> dict[str, float]:
        """logit_scale."""
        return {"logit_scale": self.model.logit_scale.item()}


def image_stage(
    model: MumicModel, config: TrainConfig
) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """What takes `Inputs` to image features: as it is, and as training runs it."""
    if config.freeze_image:
        head = trunk_and_head(model)[1]
        return head.__call__, head.__call__
    visual: nn.Module = model.clip.visual
    run = cast(nn.Module, torch.compile(visual)) if config.compile else visual
    # Bound methods, or an objective would hold the tower twice.
    return visual.__call__, run.__call__


def freeze(model: MumicModel, config: TrainConfig) -> None:
    """Take the gradients from what the settings freeze."""
    if config.freeze_text:
        for parameter in _text_parameters(model):
            parameter.requires_grad_(False)
    if config.freeze_image:
        trunk_and_head(model)[0].requires_grad_(False)
    if config.freeze_logit_scale:
        model.logit_scale.requires_grad_(False)


def keep_frozen_still(model: MumicModel, config: TrainConfig) -> None:
    """Keep frozen towers in evaluation mode."""
    if config.freeze_text:
        training = model.clip.visual.training
        model.clip.eval()
        model.clip.visual.train(training)
    if config.freeze_image:
        trunk_and_head(model)[0].eval()


def _text_parameters(model: MumicModel) -> list[nn.Parameter]:
    image = {id(parameter) for parameter in model.clip.visual.parameters()}
    others = [parameter for parameter in model.clip.parameters() if id(parameter) not in image]
    return [parameter for parameter in others if parameter is not model.logit_scale]
