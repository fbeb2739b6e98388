"""The image and text towers, built by open_clip."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from app.core.model.scoring import l2_normalize
from app.errors import CheckpointError, TextError

MAX_TOKEN_CHARS = 32  # the longest token of CLIP's vocabulary
MAX_CACHED_WORDS = 100_000
TEXT_BATCH_SIZE = 256


class MumicModel(nn.Module):
    """Image and text towers in one embedding space, with their tokenizer.

    Args:
        clip: an open_clip model (`CLIP` or `CustomTextCLIP`).
        tokenizer: the open_clip tokenizer of that model.

    Raises:
        CheckpointError: the model has a logit bias or needs another tokenizer than CLIP's.
    """

    clip: Any  # open_clip's classes are untyped

    def __init__(self, clip: nn.Module, tokenizer: Any) -> None:
        super().__init__()
        if getattr(clip, "logit_bias", None) is not None:
            raise CheckpointError(
                "the model has a logit_bias (SigLIP); MuMIC's tempered sigmoid has none: "
                "use a CLIP architecture"
            )
        if not hasattr(tokenizer, "encode") or not hasattr(tokenizer, "context_length"):
            raise CheckpointError(
                "the model needs a tokenizer from a hub; use an architecture with CLIP's tokenizer"
            )
        tokenizer.cache = _BoundedDict(tokenizer.cache)
        self.clip = clip
        self.tokenizer = tokenizer

    @property
    def logit_scale(self) -> Tensor:
        """ln(1 / temperature), a float32 scalar."""
        scale: Tensor = self.clip.logit_scale
        return scale

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.logit_scale.device

    @property
    def dtype(self) -> torch.dtype:
        """The image tower's precision: float32, bfloat16 or float16."""
        dtype: torch.dtype = next(self.clip.visual.parameters()).dtype
        return dtype

    @property
    def image_size_px(self) -> int:
        """S, the side in pixels of the image tower's square input."""
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
        """Convert texts to token ids. A text is never truncated.

        Args:
            texts: N texts.

        Returns:
            (N, context_length) int64.

        Raises:
            TextError: a text is empty, longer than the context or contains a special token.
        """
        for text in texts:
            self._validate(text)
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

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Tokenize and embed texts, in batches of at most `TEXT_BATCH_SIZE`.

        Args:
            texts: N texts, at least one.

        Returns:
            (N, D) float32 unit rows on the CPU.

        Raises:
            TextError: a text cannot be tokenized (see `tokenize`).
        """
        batches = torch.split(self.tokenize(texts).to(self.device), TEXT_BATCH_SIZE)
        return torch.cat([self.encode_text(tokens).cpu() for tokens in batches])

    def _validate(self, text: str) -> None:
        max_tokens = self.tokenizer.context_length - 2  # without start and end of text
        max_chars = max_tokens * MAX_TOKEN_CHARS
        if len(text) > max_chars:  # encoding time is quadratic in the length of a word
            raise TextError(
                f"the text {_shortened(text)!r} has {len(text)} characters; this checkpoint reads "
                f"at most {max_tokens} tokens, never more than {max_chars} characters"
            )
        tokens = self.tokenizer.encode(text)
        if not tokens:
            raise TextError("a text is empty; write a word or a short phrase")
        if len(tokens) > max_tokens:
            raise TextError(
                f"the text {_shortened(text)!r} has {len(tokens)} tokens; "
                f"this checkpoint reads at most {max_tokens}"
            )
        if not set(tokens).isdisjoint(self.tokenizer.all_special_ids):
            raise TextError(
                f"the text {_shortened(text)!r} contains <start_of_text> or <end_of_text>, which "
                "are reserved tokens; remove them"
            )


class _BoundedDict(dict[str, str]):
    """The word cache of the tokenizer, bounded since clients can send any number of new words."""

    def __setitem__(self, word: str, tokens: str) -> None:
        if len(self) < MAX_CACHED_WORDS:
            super().__setitem__(word, tokens)


def _shortened(text: str, length: int = 60) -> str:
    return text if len(text) <= length else f"{text[:length]}…"
