"""Objectives: the trained module, its loss, and its scores for validation."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Self, cast

import torch
from torch import Tensor, nn

from app.core.model import MumicModel, cosines, l2_normalize
from app.dataset.labelled import UNKNOWN_TARGET, LabelledPhotos
from app.evaluation.predictions import embed_texts
from app.training.config import TrainConfig
from app.training.data import trunk_and_head
from app.training.objective.losses import tempered_bce

Losses = dict[str, Tensor]


class Objective(nn.Module, ABC):
    """The trained module with its loss and its scores for validation.

    The parameters that require a gradient are trained. DDP broadcasts buffers between devices,
    so large constants such as targets are plain attributes.
    """

    @property
    @abstractmethod
    def weights(self) -> nn.Module:
        """The module whose weights a run saves, averages and returns."""

    @abstractmethod
    def forward(self, inputs: Tensor, indices: Tensor, step: Tensor) -> tuple[Tensor, Losses]:
        """The loss of a micro-batch, as its share of the loss of the step.

        Args:
            inputs: (B, ...) as `Inputs` yields them.
            indices: (B,) positions of the micro-batch's photos.
            step: (S,) positions of all photos of the step; the loss is a mean over their pairs.

        Returns:
            Scalar float32 to minimise, and its named terms, detached, for the log.
        """

    @abstractmethod
    def scores(self, inputs: Iterable[Tensor]) -> Tensor:
        """Score photos for each class of the data, in evaluation mode.

        Args:
            inputs: batches of N photos in all.

        Returns:
            (N, C) float32 on the CPU; a higher score means that the class is more likely.
        """

    @abstractmethod
    def loss_of_scores(self, scores: Tensor, indices: Tensor) -> float:
        """The mean loss on the human labels of the data's classes.

        Args:
            scores: (N, C) from `scores`.
            indices: (N,) positions of the photos.

        Returns:
            The loss; 0 if no pair is known.
        """

    def after_step(self) -> None:
        """Constrain the weights after an optimizer step; the default does nothing."""

    def measures(self) -> dict[str, float]:
        """Further values for the log."""
        return {}


class TemperedSigmoid(Objective):
    """The paper's objective: tempered-sigmoid cross-entropy of photos and label texts (section 2).

    Args:
        model: the towers, on their device.
        data: photos, texts and targets; a teacher's targets count for pairs that have no human
            label.
        config: frozen parameters, compilation and the weight of the teacher's targets.
    """

    def __init__(self, model: MumicModel, data: LabelledPhotos, config: TrainConfig) -> None:
        super().__init__()
        self.model = model
        self._config = config
        freeze_parameters(model, config)
        soft = torch.where(data.targets < 0, data.soft_targets.float(), UNKNOWN_TARGET)
        self._targets, self._soft_targets, self._positive_weights = (
            each.to(model.device) for each in (data.targets, soft, data.positive_weights)
        )
        self._tokens = model.tokenize(data.texts).to(model.device)
        self._texts = embed_texts(model, self._tokens) if config.freeze_text else None
        self._classes = list(data.classes.values())
        self._encode_eval, self._encode_train = image_encoders(model, config)

    @property
    def weights(self) -> nn.Module:
        """Both towers and logit_scale."""
        clip: nn.Module = self.model.clip
        return clip

    def train(self, mode: bool = True) -> Self:
        """Set the mode; frozen towers stay in evaluation mode."""
        super().train(mode)
        set_frozen_to_eval(self.model, self._config)
        return self

    def forward(self, inputs: Tensor, indices: Tensor, step: Tensor) -> tuple[Tensor, Losses]:
        """Equations 1 and 2, for the human labels and for the teacher's targets."""
        images = l2_normalize(self._encode_train(inputs))
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
        loss = human + self._config.soft_target_weight * soft
        return loss, {"loss": human.detach(), "soft_loss": soft.detach()}

    @torch.no_grad()
    def scores(self, inputs: Iterable[Tensor]) -> Tensor:
        """Cosines with the text of each class's name."""
        self.eval()
        texts = embed_texts(self.model, self._tokens[self._classes])
        rows = [cosines(l2_normalize(self._encode_eval(batch)), texts).cpu() for batch in inputs]
        return torch.cat(rows)

    @torch.no_grad()
    def loss_of_scores(self, scores: Tensor, indices: Tensor) -> float:
        """Equations 1 and 2, for the human labels."""
        device = self.model.device
        targets = self._targets[indices.to(device)][:, self._classes]
        weights = self._positive_weights[self._classes]
        loss = tempered_bce(scores.to(device), targets, self.model.logit_scale, weights)
        return loss.item()

    def after_step(self) -> None:
        """Clamp logit_scale to its upper bound."""
        self.model.logit_scale.data.clamp_(max=self._config.max_logit_scale)

    def measures(self) -> dict[str, float]:
        """The present logit_scale."""
        return {"logit_scale": self.model.logit_scale.item()}


def image_encoders(
    model: MumicModel, config: TrainConfig
) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """The functions from `Inputs` to image features: for evaluation, and compiled for training."""
    if config.freeze_image:
        head = trunk_and_head(model)[1]
        return head.__call__, head.__call__
    visual: nn.Module = model.clip.visual
    compiled = cast(nn.Module, torch.compile(visual)) if config.compile else visual
    # Bound methods: as attributes, the modules would be registered in an objective twice.
    return visual.__call__, compiled.__call__


def freeze_parameters(model: MumicModel, config: TrainConfig) -> None:
    """Turn off the gradients of the parameters that the settings freeze."""
    if config.freeze_text:
        for parameter in _text_parameters(model):
            parameter.requires_grad_(False)
    if config.freeze_image:
        trunk_and_head(model)[0].requires_grad_(False)
    if config.freeze_logit_scale:
        model.logit_scale.requires_grad_(False)


def set_frozen_to_eval(model: MumicModel, config: TrainConfig) -> None:
    """Set frozen towers to evaluation mode, so that their batch statistics do not change."""
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
