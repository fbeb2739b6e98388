"""The one object that serving, evaluation and backfill call."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor

from app.core.checkpoint import (
    Checkpoint,
    check_golden,
    is_golden,
    label_embeddings,
    load_model,
    read_checkpoint,
)
from app.core.images import Preprocess, normalize
from app.core.labels import LabelSet
from app.core.model import MumicModel, TextCache, fuse_activations, fuse_batch_norms, scoring
from app.core.runtime import Placement, choose_batch_size, choose_placement

BACKGROUND_PROMPT = "a photo"
TEXT_BATCH_SIZE = 256


class Classifier:
    """A loaded checkpoint: pixels to embeddings, embeddings to probabilities.

    Its methods may be called from several threads.

    Args:
        checkpoint: the verified directory that the model came from.
        model: its towers, on their device in their precision.
        placement: that device and precision.
        text_embeddings: (C, D) float32 unit rows, the label set's prompts.
        batch_size: most images that are worth a batch here.
        text_cache_size: most zero-shot texts whose embeddings are kept.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        model: MumicModel,
        placement: Placement,
        text_embeddings: Tensor,
        batch_size: int,
        text_cache_size: int,
    ) -> None:
        self.checkpoint = checkpoint
        self.placement = placement
        self.text_embeddings = text_embeddings
        self.batch_size = batch_size
        self.logit_scale = model.logit_scale.item()
        self._model = model
        self._text_embeddings = text_embeddings.to(placement.device)
        # Not a method: the classifier would hold itself, and be let go by the collector alone.
        compute_texts = partial(_compute_texts, model, placement.device)
        self._text_cache = TextCache(compute_texts, text_cache_size)
        self._background = compute_texts([BACKGROUND_PROMPT])

    @classmethod
    def load(
        cls,
        directory: Path,
        *,
        device: str = "auto",
        precision: str = "auto",
        text_cache_size: int = 10_000,
    ) -> "Classifier":
        """Load a checkpoint directory and hold it against its golden inputs.

        They are checked in float32 on the CPU, with the weights as they are, which is exact, and
        where that differs again as it will serve: on the device, in its precision, fused
        (app/core/model/fusion.py).

        Raises:
            CheckpointError: the directory or the model is not what it says.
            LabelSetError: its labels.yaml is not valid.
            OptionError: the device or precision cannot be had.
        """
        checkpoint = read_checkpoint(directory)
        model = load_model(directory)
        transformer = isinstance(model.clip.visual, VisionTransformer)
        placement = choose_placement(device, precision, transformer=transformer)
        check_golden(model, checkpoint.preprocess, checkpoint.card.golden)
        text_embeddings = label_embeddings(checkpoint, model)
        fused = fuse_batch_norms(model.clip.visual)
        model.to(placement.device)
        # Texts are few and cached: their tower keeps float32.
        model.clip.visual.to(dtype=placement.dtype, memory_format=torch.channels_last)
        if placement.device.type == "cpu":
            fused += fuse_activations(model.clip.visual)
        if fused or placement != Placement(torch.device("cpu"), "fp32"):
            check_golden(model, checkpoint.preprocess, checkpoint.card.golden)
        batch_size = choose_batch_size(placement, transformer=transformer)
        return cls(checkpoint, model, placement, text_embeddings, batch_size, text_cache_size)

    @property
    def labels(self) -> LabelSet:
        """The checkpoint's label set."""
        return self.checkpoint.labels

    @property
    def preprocess(self) -> Preprocess:
        """How photos become model input."""
        return self.checkpoint.preprocess

    @property
    def dimension(self) -> int:
        """D, the length of an embedding."""
        return self.text_embeddings.shape[1]

    @torch.inference_mode()
    def embed_images(self, pixels: Tensor) -> Tensor:
        """Embed a batch of photos.

        Args:
            pixels: (B, 3, S, S) uint8, as `load_pixels` makes them.

        Returns:
            (B, D) float32 unit rows on the CPU.
        """
        return self._embed(pixels).cpu()

    @torch.inference_mode()
    def score_images(self, pixels: Tensor) -> scoring.Scored:
        """Embed a batch of photos and score the label set, all of it on the device.

        Args:
            pixels: (B, 3, S, S) uint8, as `load_pixels` makes them.
        """
        embeddings = self._embed(pixels)
        cosine = scoring.cosines(embeddings, self._text_embeddings)
        probabilities = scoring.tempered_sigmoid(cosine, self.logit_scale)
        return scoring.Scored(embeddings.cpu(), probabilities.cpu())

    def is_golden(self, embedding: Tensor) -> bool:
        """Whether this is what the checkpoint promises of the first golden image.

        Args:
            embedding: (D,) float32, unit length, on the CPU.
        """
        return is_golden(embedding, self.checkpoint.card.golden, self.placement.dtype)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Embed texts as they are, from the cache where it has them.

        Args:
            texts: at least one text.

        Returns:
            (N, D) float32 unit rows on the CPU.

        Raises:
            TextError: a text is empty or longer than the tokenizer's context.
        """
        return self._text_cache(texts)

    def count_known(self, texts: Sequence[str]) -> int:
        """How many of the texts `embed_texts` has in its cache."""
        return self._text_cache.count(texts)

    @torch.inference_mode()
    def probabilities(self, image_embeddings: Tensor) -> Tensor:
        """Score the label set: one independent probability for each label.

        Args:
            image_embeddings: (B, D) float32 unit rows.

        Returns:
            (B, C) float32 in [0, 1], columns in the order of the label set.
        """
        cosine = scoring.cosines(image_embeddings, self.text_embeddings)
        return scoring.tempered_sigmoid(cosine, self.logit_scale)

    @torch.inference_mode()
    def zero_shot(
        self, image_embeddings: Tensor, text_embeddings: Tensor, method: scoring.Scoring
    ) -> Tensor:
        """Score any texts, at the checkpoint's logit_scale.

        Args:
            image_embeddings: (B, D) float32 unit rows.
            text_embeddings: (N, D) float32 unit rows, as `embed_texts` gives them.
            method: `sigmoid` (MuMIC), `softmax` (just one of the texts) or `pair` (each text
                against `a photo`).

        Returns:
            (B, N) float32 in [0, 1].
        """
        cosine = scoring.cosines(image_embeddings, text_embeddings)
        if method == "sigmoid":
            return scoring.tempered_sigmoid(cosine, self.logit_scale)
        if method == "softmax":
            return scoring.softmax(cosine, self.logit_scale)
        background = scoring.cosines(image_embeddings, self._background)
        return scoring.pair_softmax(cosine, background, self.logit_scale)

    def _embed(self, pixels: Tensor) -> Tensor:
        if self.placement.device.type == "cuda":
            pixels = pixels.pin_memory()  # or the copy would hold up the thread
        on_device = pixels.to(self.placement.device, non_blocking=True)
        images = normalize(on_device, self.preprocess, self.placement.dtype)
        return self._model.encode_image(images)


@torch.inference_mode()
def _compute_texts(model: MumicModel, device: torch.device, texts: Sequence[str]) -> Tensor:
    tokens = model.tokenize(texts).to(device)
    return torch.cat(
        [model.encode_text(part).cpu() for part in torch.split(tokens, TEXT_BATCH_SIZE)]
    )
