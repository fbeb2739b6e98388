"""Objectives: the trained module, its loss, and its scores for validation."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Self, cast

import torch
from torch import Tensor, nn

from app.core.labels import LabelSet
from app.core.model import MumicModel, cosines, l2_normalize, logits
from app.dataset.labelled import UNKNOWN_TARGET, LabelledPhotos
from app.errors import OptionError
from app.evaluation.predictions import embed_texts
from app.training.config import TrainConfig
from app.training.data import trunk_and_head
from app.training.objective.losses import (
    hierarchy_penalty,
    tempered_bce,
    unknown_loss,
)
from app.training.objective.low_rank import adapt_low_rank

Losses = dict[str, Tensor]
# The image projection of open_clip's towers: from timm, transformer, ResNet.


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

    The settings add terms for a teacher's targets, for unknown pairs, for the distance of the image
    projection from its start, and for labels that are more probable than their parents.

    Args:
        model: the towers, on their device, with the weights that the run starts from.
        data: photos, texts and targets; a teacher's targets count for pairs that have no human
            label.
        labels: the label set, for the parents of its labels.
        config: trained parameters, compilation and the terms of the loss.

    Raises:
        OptionError: the settings do not fit the image tower or the label set.
    """

    def __init__(
        self, model: MumicModel, data: LabelledPhotos, labels: LabelSet, config: TrainConfig
    ) -> None:
        super().__init__()
        self.model = model
        self._config = config
        freeze_parameters(model, config)
        if config.lora_rank is not None:
            adapt_low_rank(model, config.lora_rank, config.seed)
        soft = torch.where(data.targets < 0, data.soft_targets.float(), UNKNOWN_TARGET)
        self._targets, self._soft_targets, self._positive_weights = (
            each.to(model.device) for each in (data.targets, soft, data.positive_weights)
        )
        self._unknown = unknown_pairs(data).to(model.device)
        if config.hierarchy_penalty:
            self._children, self._parents = parent_columns(data, labels).to(model.device)
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
        """Equations 1 and 2 for the human labels and the teacher's targets, and further terms."""
        images = l2_normalize(self._encode_train(inputs))
        texts = self.model.encode_text(self._tokens) if self._texts is None else self._texts
        with torch.autocast(images.device.type, enabled=False):
            terms = self._terms(cosines(images, texts), indices, step)
        loss = torch.stack([weight * term for weight, term in terms.values()]).sum()
        return loss, {name: term.detach() for name, (_, term) in terms.items()}

    def _terms(
        self, cosine: Tensor, indices: Tensor, step: Tensor
    ) -> dict[str, tuple[float, Tensor]]:
        """Return the weight and the value of each term of the loss, by its name in the log."""
        config, scale = self._config, self.model.logit_scale
        share = len(indices) / len(step)  # of the terms that are no mean over known pairs
        known = (self._targets[step] >= 0).sum()
        soft_known = (self._soft_targets[step] >= 0).sum()
        weights = self._positive_weights
        human = tempered_bce(cosine, self._targets[indices], scale, weights, known)
        soft = tempered_bce(cosine, self._soft_targets[indices], scale, weights, soft_known)
        terms = {"loss": (1.0, human), "soft_loss": (config.soft_target_weight, soft)}
        if config.unknown != "ignore":
            # At least the number of photos, for a step with few known pairs.
            divisor = known.clamp(min=len(step))
            unknown = unknown_loss(cosine, self._unknown[indices], scale, divisor)
            terms["unknown_loss"] = (1.0, unknown)
        if config.hierarchy_penalty:
            penalty = hierarchy_penalty(logits(cosine, scale), self._children, self._parents)
            terms["hierarchy_penalty"] = (config.hierarchy_penalty, share * penalty)
        return terms

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


def unknown_pairs(data: LabelledPhotos) -> Tensor:
    """Return the pairs that `TrainConfig.unknown` is about.

    These are pairs without a human label or a teacher's target, of texts with a positive photo in
    the train split: texts without one, as of left-out names, are recognised by their meaning alone
    and stay so.

    Args:
        data: N photos and L texts.

    Returns:
        (N, L) bool.
    """
    has_positive = (data.targets[data.indices("train")] == 1).any(dim=0)
    return (data.targets < 0) & (data.soft_targets < 0) & has_positive


def parent_columns(data: LabelledPhotos, labels: LabelSet) -> Tensor:
    """Return the (2, E) int64 columns of each label that has a parent, and of that parent.

    Raises:
        OptionError: no label has a parent.
    """
    column = dict(zip(labels.ids, data.columns_of(labels.prompts).tolist(), strict=True))
    edges = [
        (column[label.id], column[parent]) for label in labels.labels for parent in label.parents
    ]
    if not edges:
        raise OptionError("hierarchy-penalty", "no label of the label set has parents")
    return torch.tensor(edges, dtype=torch.int64).T


def set_frozen_to_eval(model: MumicModel, config: TrainConfig) -> None:
    """Set frozen layers to evaluation mode, so that their batch statistics do not change."""
    if config.lora_rank is not None:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
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
