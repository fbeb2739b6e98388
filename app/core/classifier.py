"""The model as serving, evaluation and batch jobs use it: pixels and texts in, scores out."""

import copy
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from app.core.checkpoint import (
    Checkpoint,
    check_golden,
    is_golden,
    label_embeddings,
    load_model,
    read_checkpoint,
    towers_key,
    zero_shot_calibration,
)
from app.core.images import Preprocess, normalize
from app.core.labels import LabelSet
from app.core.model import (
    FusionError,
    MumicModel,
    ScoredBatch,
    Scoring,
    TextCache,
    ZeroShotCalibration,
    calibrated_logits,
    calibrated_zero_shot_logits,
    cosines,
    fuse_activations,
    fuse_batch_norms,
    logits,
    pair_logits,
    softmax_logits,
)
from app.core.runtime import Placement, choose_batch_size, choose_placement
from app.errors import CheckpointError, OptionError

BACKGROUND_PROMPT = "a photo"
CPU_FP32 = Placement(torch.device("cpu"), "fp32")

log = logging.getLogger("mumic.checkpoint")


class Classifier:
    """A loaded checkpoint: embeds images and texts, and scores labels.

    All methods are thread-safe.

    Args:
        checkpoint: the verified checkpoint directory.
        model: the towers, on the device and in the precision of `placement`.
        placement: device and precision of the image tower.
        text_embeddings: (C, D) float32 unit rows on the CPU, one per label.
        batch_size: the largest batch that is worthwhile on this device.
        zero_shot_calibration: of the scores of arbitrary texts; None if the checkpoint has none.
        text_cache_size: maximum number of cached zero-shot text embeddings.
        fused: False if layer fusion failed and the image tower runs unfused, which is slower.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        model: MumicModel,
        placement: Placement,
        text_embeddings: Tensor,
        *,
        batch_size: int,
        zero_shot_calibration: ZeroShotCalibration | None,
        text_cache_size: int,
        fused: bool,
    ) -> None:
        self.placement = placement
        self.batch_size = batch_size
        self.fused = fused
        self.logit_scale = model.logit_scale.item()
        self._model = model
        self._use_labels(checkpoint, text_embeddings)
        self.zero_shot_calibration = zero_shot_calibration
        self._background_embedding = model.embed_texts([BACKGROUND_PROMPT])
        self._text_cache = TextCache(model.embed_texts, text_cache_size)

    @classmethod
    def load(
        cls,
        directory: Path,
        *,
        device: str = "auto",
        precision: str = "auto",
        text_cache_size: int = 10_000,
    ) -> "Classifier":
        """Load a checkpoint directory and verify the model against its golden inputs.

        The first check is exact: float32 on the CPU, with the weights as stored. A second check
        follows if the served model differs from that: on another device, in another precision, or
        with fused layers (app/core/model/fusion.py).

        Raises:
            CheckpointError: the directory is invalid, or the model does not match its golden
                embeddings.
            LabelSetError: labels.yaml is invalid.
            OptionError: the device or precision is unknown or not available.
        """
        checkpoint = read_checkpoint(directory)
        model = load_model(checkpoint)
        transformer = isinstance(model.clip.visual, VisionTransformer)
        placement = choose_placement(device, precision, transformer=transformer)
        check_golden(model, checkpoint.preprocess, checkpoint.card.golden)
        text_embeddings = label_embeddings(checkpoint, model)
        fusions = _place_and_fuse(model, placement)
        if any(fusions) or placement != CPU_FP32:
            check_golden(model, checkpoint.preprocess, checkpoint.card.golden)
        return cls(
            checkpoint,
            model,
            placement,
            text_embeddings,
            batch_size=choose_batch_size(placement, transformer=transformer),
            zero_shot_calibration=zero_shot_calibration(checkpoint),
            text_cache_size=text_cache_size,
            fused=None not in fusions,
        )

    def with_labels_of(self, checkpoint: Checkpoint) -> "Classifier":
        """Return a classifier for another version of the labels, which shares towers and caches.

        Args:
            checkpoint: has the same weights and configuration.

        Raises:
            CheckpointError: the weights or the configuration differ, or the class embeddings are
                not those of the label set.
        """
        if towers_key(checkpoint.card.sha256) != towers_key(self.checkpoint.card.sha256):
            raise CheckpointError(f"{checkpoint.directory}: has other weights; load it instead")
        other = copy.copy(self)
        other._use_labels(checkpoint, label_embeddings(checkpoint, self._model))
        return other

    def _use_labels(self, checkpoint: Checkpoint, text_embeddings: Tensor) -> None:
        device = self.placement.device
        self.checkpoint = checkpoint
        self.text_embeddings = text_embeddings
        self._device_text_embeddings = text_embeddings.to(device)
        scales, offsets = map(torch.from_numpy, self.labels.calibration_of(self.labels.prompts))
        self._scales, self._offsets = scales, offsets
        self._device_scales, self._device_offsets = scales.to(device), offsets.to(device)

    @property
    def labels(self) -> LabelSet:
        """The label set of the checkpoint."""
        return self.checkpoint.labels

    @property
    def preprocess(self) -> Preprocess:
        """The image preprocessing of the checkpoint."""
        return self.checkpoint.preprocess

    @property
    def dimension(self) -> int:
        """D, the length of an embedding."""
        return self.text_embeddings.shape[1]

    @torch.inference_mode()
    def embed_images(self, pixels: Tensor) -> Tensor:
        """Embed a batch of images.

        Args:
            pixels: (B, 3, S, S) uint8, as `load_pixels` returns them.

        Returns:
            (B, D) float32 unit rows on the CPU.
        """
        return self._embed(pixels).cpu()

    @torch.inference_mode()
    def score_images(self, pixels: Tensor) -> ScoredBatch:
        """Embed a batch of images and score the label set, both on the device.

        Args:
            pixels: (B, 3, S, S) uint8, as `load_pixels` returns them.
        """
        embeddings = self._embed(pixels)
        scores = logits(cosines(embeddings, self._device_text_embeddings), self.logit_scale)
        scores = calibrated_logits(scores, self._device_scales, self._device_offsets)
        return ScoredBatch(embeddings.cpu(), scores.cpu())

    @torch.inference_mode()
    def score_embeddings(self, image_embeddings: Tensor) -> Tensor:
        """Score the label set: the log odds of one independent probability per label, calibrated.

        Args:
            image_embeddings: (B, D) float32 unit rows on the CPU.

        Returns:
            (B, C) float32 logits, columns in the order of the label set.
        """
        scores = logits(cosines(image_embeddings, self.text_embeddings), self.logit_scale)
        return calibrated_logits(scores, self._scales, self._offsets)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Embed texts without a template, using the text cache.

        Args:
            texts: at least one text.

        Returns:
            (N, D) float32 unit rows on the CPU.

        Raises:
            TextError: a text is empty, longer than the tokenizer's context or contains a special
                token.
        """
        return self._text_cache(texts)

    def prompt_embeddings(self, labels: LabelSet) -> Tensor:
        """Embed the prompts of a label set; those of this checkpoint's labels are not computed.

        Returns:
            (C, D) float32 unit rows on the CPU.

        Raises:
            TextError: a prompt is longer than the tokenizer's context.
        """
        known = {
            prompt: row
            for label, prompt, row in zip(
                self.labels.labels, self.labels.prompts, self.text_embeddings, strict=True
            )
            if not label.is_fitted
        }
        return torch.stack(
            [
                known[prompt] if prompt in known else self.embed_texts([prompt])[0]
                for prompt in labels.prompts
            ]
        )

    def cached_text_embeddings(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Return the embeddings of those texts that are in the text cache, computing none.

        Args:
            texts: any texts.

        Returns:
            (D,) float32 unit rows on the CPU, by text.
        """
        return self._text_cache.find(texts)

    def choose_scoring(self, method: Scoring | None = None) -> Scoring:
        """Return the method by which `zero_shot` scores texts.

        Args:
            method: the method that the client asked for; by default `calibrated` if the checkpoint
                has a calibration of zero-shot scores, otherwise `sigmoid`.

        Raises:
            OptionError: `calibrated`, and the checkpoint has no calibration.
        """
        if method is None:
            return "sigmoid" if self.zero_shot_calibration is None else "calibrated"
        self._calibration_for(method)
        return method

    @torch.inference_mode()
    def zero_shot(
        self, image_embeddings: Tensor, text_embeddings: Tensor, method: Scoring
    ) -> Tensor:
        """Score arbitrary texts.

        Args:
            image_embeddings: (B, D) float32 unit rows on the CPU.
            text_embeddings: (N, D) float32 unit rows, as `embed_texts` returns them.
            method: `calibrated` (each text by itself, whatever its mean cosine is),
                `sigmoid` (MuMIC), `softmax` (exactly one of the texts) or `pair` (each text against
                `a photo`). All but the first use the checkpoint's logit_scale.

        Returns:
            (B, N) float32 logits, whose sigmoids are the probabilities of the method. Every method
            but `calibrated` ranks the texts of an image by their cosines.

        Raises:
            OptionError: `calibrated`, and the checkpoint has no calibration.
        """
        if calibration := self._calibration_for(method):
            return calibrated_zero_shot_logits(image_embeddings, text_embeddings, calibration)
        cosine = cosines(image_embeddings, text_embeddings)
        if method == "sigmoid":
            return logits(cosine, self.logit_scale)
        if method == "softmax":
            return softmax_logits(cosine, self.logit_scale)
        background = cosines(image_embeddings, self._background_embedding)
        return pair_logits(cosine, background, self.logit_scale)

    def is_golden(self, embedding: Tensor) -> bool:
        """Return whether an embedding matches that of the first golden image.

        Args:
            embedding: (D,) float32, unit length, on the CPU.
        """
        return is_golden(embedding, self.checkpoint.card.golden, self.placement.dtype)

    def _calibration_for(self, method: Scoring) -> ZeroShotCalibration | None:
        """Return the calibration of a method, or None if it needs none.

        Raises:
            OptionError: the checkpoint has no calibration, and the method needs one.
        """
        if method != "calibrated":
            return None
        if self.zero_shot_calibration is None:
            raise OptionError(
                "scoring",
                f"the checkpoint {self.checkpoint.card.name} has no calibration of zero-shot "
                "scores; use sigmoid, or fit one with: mumic calibrate zero-shot",
            )
        return self.zero_shot_calibration

    def _embed(self, pixels: Tensor) -> Tensor:
        """Embed (B, 3, S, S) uint8 pixels; (B, D) float32 unit rows on the device."""
        if self.placement.device.type == "cuda":
            pixels = pixels.pin_memory()  # without it the copy would block this thread
        on_device = pixels.to(self.placement.device, non_blocking=True)
        images = normalize(on_device, self.preprocess, self.placement.dtype)
        return self._model.encode_image(images)


def _place_and_fuse(model: MumicModel, placement: Placement) -> list[int | None]:
    """Move a float32 CPU model to its placement and fuse the layers of its image tower, in place.

    Returns:
        The number of fused layers in each pass; None for a pass that failed.
    """
    tower = model.clip.visual
    fusions = [_fuse(tower, fuse_batch_norms)]  # in float32, before weights lose precision
    model.to(placement.device)
    # Only the image tower: the text tower keeps float32, since texts are few and cached.
    tower.to(dtype=placement.dtype, memory_format=torch.channels_last)
    if placement.device.type == "cpu":
        fusions.append(_fuse(tower, fuse_activations))
    return fusions


def _fuse(tower: nn.Module, fuse: Callable[[nn.Module], int]) -> int | None:
    try:
        return fuse(tower)
    except FusionError as error:
        log.warning("Layers of the image tower are not fused, so inference is slower: %s", error)
        return None
