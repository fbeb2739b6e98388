"""A bounded LRU cache of text embeddings."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock

import torch
from torch import Tensor


class TextCache:
    """Caches the embeddings of the most recently used texts; thread-safe.

    Args:
        embed: computes (N, D) embeddings of N texts.
        capacity: maximum number of cached texts.
    """

    def __init__(self, embed: Callable[[Sequence[str]], Tensor], capacity: int) -> None:
        self._embed = embed
        self._capacity = capacity
        self._rows: OrderedDict[str, Tensor] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._rows)

    def find(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Return the (D,) rows of those texts that are in the cache, without computing any."""
        with self._lock:
            found = {text: self._rows[text] for text in texts if text in self._rows}
            for text in found:
                self._rows.move_to_end(text)
        return found

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Embed texts, computing only those that are not in the cache.

        Args:
            texts: at least one text; repeated texts are computed once.

        Returns:
            (N, D) float32 unit rows, in the order of the texts.
        """
        found = self.find(texts)
        missing = [text for text in dict.fromkeys(texts) if text not in found]
        if missing:
            # Cloned, since a view would keep its whole batch alive.
            computed = {
                t: row.clone() for t, row in zip(missing, self._embed(missing), strict=True)
            }
            found |= computed
            with self._lock:
                self._rows |= computed
                while len(self._rows) > self._capacity:
                    self._rows.popitem(last=False)
        return torch.stack([found[text] for text in texts])
