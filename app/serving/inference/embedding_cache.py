"""A bounded cache of image embeddings, for photos that are sent repeatedly."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from threading import Lock

import torch
from torch import Tensor

from app.serving.inference.embedded_image import EmbeddedImage

# Digest, two tensor objects and the entry itself: measured at about 1,300 bytes, rounded up.
ENTRY_BYTES = 1536


class EmbeddingCache:
    """LRU cache of embedded images, keyed by the sha256 of a photo's bytes; thread-safe.

    Args:
        max_bytes: most memory that the entries use; 0 disables the cache.

    Attributes:
        size_bytes: memory that the entries use.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[bytes, EmbeddedImage] = OrderedDict()
        self._lock = Lock()
        self.size_bytes = 0

    def __bool__(self) -> bool:
        return self._max_bytes > 0

    @staticmethod
    def key(data: bytes) -> bytes:
        """Return the cache key of a photo's bytes."""
        return hashlib.sha256(data).digest()

    def get(self, key: bytes) -> EmbeddedImage | None:
        """Return the cached image of a key, or None."""
        with self._lock:
            image = self._entries.get(key)
            if image is not None:
                self._entries.move_to_end(key)
            return image

    def put(self, key: bytes, image: EmbeddedImage) -> None:
        """Add or replace an image and evict the least recently used ones beyond the limit."""
        # Cloned, because a row is a view that keeps its whole batch in memory.
        copied = replace(image, embedding=image.embedding.clone(), logits=image.logits.clone())
        with self._lock:
            if key not in self._entries:
                self.size_bytes += _size_bytes(copied)
            self._entries[key] = copied
            while self.size_bytes > self._max_bytes:
                _, evicted = self._entries.popitem(last=False)
                self.size_bytes -= _size_bytes(evicted)

    def rescored(self, score: Callable[[Tensor], Tensor]) -> "EmbeddingCache":
        """Return a cache of the same embeddings with the scores of other labels.

        Args:
            score: maps (N, D) embeddings to (N, C) logits.
        """
        other = EmbeddingCache(self._max_bytes)
        with self._lock:
            entries = list(self._entries.items())
        if entries:
            rows = score(torch.stack([image.embedding for _, image in entries]))
            for (key, image), logits in zip(entries, rows, strict=True):
                other.put(key, replace(image, logits=logits))
        return other


def _size_bytes(image: EmbeddedImage) -> int:
    return image.embedding.nbytes + image.logits.nbytes + ENTRY_BYTES
