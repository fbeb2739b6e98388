"""The two towers, through open_clip."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from app.core.model.scoring import l2_normalize
from app.errors import CheckpointError, TextError

LONGEST_TOKEN_CHARS = 32  # of CLIP's vocabulary
MAX_CACHED_WORDS = 100_000


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
        tokenizer.cache = _BoundedDict(tokenizer.cache)
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

    @property
    def image_size_px(self) -> int:
        """S, the side of the square that the image tower takes."""
        size = self.clip.visual.image_size
        return int(size[0] if isinstance(size, tuple) else size)

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
            TextError: a text is empty, longer than the context or holds one of the tokenizer's
                own marks; none is ever cut.
        """
        for text in texts:
            self._refuse_unreadable(text)
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

    def _refuse_unreadable(self, text: str) -> None:
        room = self.tokenizer.context_length - 2  # start and end of text
        longest = room * LONGEST_TOKEN_CHARS
        if len(text) > longest:  # encoding takes a long word's length squared
            raise TextError(
                f"the text {_shortened(text)!r} has {len(text)} characters; "
                f"this checkpoint reads at most {room} tokens, never more than {longest} characters"
            )
        tokens = self.tokenizer.encode(text)
        if not tokens:
            raise TextError("a text is empty; write a word or a short phrase")
        if len(tokens) > room:
            raise TextError(
                f"the text {_shortened(text)!r} has {len(tokens)} tokens; "
                f"this checkpoint reads at most {room}"
            )
        if not set(tokens).isdisjoint(self.tokenizer.all_special_ids):
            raise TextError(
                f"the text {_shortened(text)!r} holds <start_of_text> or <end_of_text>, which the "
                "tokenizer keeps for itself; take it out"
            )


class _BoundedDict(dict[str, str]):
    """The tokenizer's cache of words, which would grow with every new word that callers send."""

    def __setitem__(self, word: str, tokens: str) -> None:
        if len(self) < MAX_CACHED_WORDS:
            super().__setitem__(word, tokens)


def _shortened(text: str, length: int = 60) -> str:
    return text if len(text) <= length else f"{text[:length]}…"
