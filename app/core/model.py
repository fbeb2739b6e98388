"""The two towers, through open_clip."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from app.core.scoring import l2_normalize
from app.errors import CheckpointError, TextError


class MumicModel(nn.Module):
    """Image and text towers in one embedding space, with their tokenizer.

    Args:
        clip: an open_clip model (`CLIP` or `CustomTextCLIP`).
        tokenizer: the open_clip tokenizer that goes with it.
    """

    clip: Any  # open_clip's classes carry no types

    def __init__(self, clip: nn.Module, tokenizer: Any) -> None:
        super().__init__()
        if getattr(clip, "logit_bias", None) is not None:
            raise CheckpointError(
                "the model has a logit_bias (SigLIP); MuMIC's tempered sigmoid has none: "
                "use a CLIP architecture"
            )
        if not hasattr(tokenizer, "encode") or not hasattr(tokenizer, "context_length"):
            raise CheckpointError(
                "the model needs a tokenizer from a hub; use an architecture with CLIP's own"
            )
        self.clip = clip
        self.tokenizer = tokenizer

    @property
    def logit_scale(self) -> Tensor:
        """ln(1 / temperature): a float32 scalar, the only place where it is kept."""
        scale: Tensor = self.clip.logit_scale
        return scale

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.logit_scale.device

    @property
    def dtype(self) -> torch.dtype:
        """The image tower's precision: float32, bfloat16 or float16."""
        dtype: torch.dtype = next(self.clip.visual.parameters()).dtype
        return dtype

    def encode_image(self, images: Tensor) -> Tensor:
        """Embed normalised images.

        Args:
            images: (B, 3, S, S), floating.

        Returns:
            (B, D) float32 unit rows.
        """
        return l2_normalize(self.clip.encode_image(images))

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Turn texts into token ids, refusing what does not fit.

        Args:
            texts: N texts.

        Returns:
            (N, context_length) int64.

        Raises:
            TextError: a text is empty or longer than the context; none is ever cut.
        """
        room = self.tokenizer.context_length - 2  # start and end of text
        for text in texts:
            if not text.strip():
                raise TextError("a text is empty; write a word or a short phrase")
            length = len(self.tokenizer.encode(text))
            if length > room:
                raise TextError(
                    f"the text {_shortened(text)!r} has {length} tokens; "
                    f"this checkpoint reads at most {room}"
                )
        tokens: Tensor = self.tokenizer(list(texts))
        return tokens

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Embed token ids.

        Args:
            tokens: (N, context_length) int64.

        Returns:
            (N, D) float32 unit rows.
        """
        return l2_normalize(self.clip.encode_text(tokens))


def _shortened(text: str, length: int = 60) -> str:
    return text if len(text) <= length else f"{text[:length]}…"
