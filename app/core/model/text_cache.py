"""A bounded cache of text embeddings, for label texts that callers send again and again."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock

import torch
from torch import Tensor


class TextCache:
    """Least recently used embeddings, by text; safe to use from several threads.

    Args:
        embed: N texts -> (N, D) rows.
        capacity: most texts kept.
    """

    def __init__(self, embed: Callable[[Sequence[str]], Tensor], capacity: int) -> None:
        self._embed = embed
        self._capacity = capacity
        self._rows: OrderedDict[str, Tensor] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._rows)

    def count(self, texts: Sequence[str]) -> int:
        """How many of the texts are kept."""
        with self._lock:
            return sum(text in self._rows for text in texts)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Embed texts, computing only those that are not kept.

        Args:
            texts: at least one text; repeats are computed once.

        Returns:
            (N, D) float32 unit rows, in the order of the texts.
        """
        with self._lock:
            found = {text: self._rows[text] for text in texts if text in self._rows}
            for text in found:
                self._rows.move_to_end(text)
        missing = [text for text in dict.fromkeys(texts) if text not in found]
        if missing:
            # Cloned, or one kept row would keep its whole batch alive.
            computed = {
                t: row.clone() for t, row in zip(missing, self._embed(missing), strict=True)
            }
            found |= computed
            with self._lock:
                self._rows |= computed
                while len(self._rows) > self._capacity:
                    self._rows.popitem(last=False)
        return torch.stack([found[text] for text in texts])
