"""A bounded cache of image embeddings, for photos that callers send again."""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

from torch import Tensor

# Of a digest, two tensors and the entry around them: about 1,300 bytes were seen, rounded up.
ENTRY_BYTES = 1536


@dataclass(frozen=True, slots=True, eq=False)
class KnownImage:
    """What the model said of one photo.

    Args:
        embedding: (D,) float32, unit length.
        probabilities: (C,) float32 in [0, 1].
        width: the photo's own, in pixels, after EXIF.
        height: likewise.
    """

    embedding: Tensor
    probabilities: Tensor
    width: int
    height: int


class EmbeddingCache:
    """Least recently used embeddings by the sha256 of a photo's bytes; safe in several threads.

    Args:
        max_bytes: most memory that its entries take; 0 keeps nothing.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[bytes, KnownImage] = OrderedDict()
        self._lock = Lock()
        self.size_bytes = 0

    def __bool__(self) -> bool:
        return self._max_bytes > 0

    @staticmethod
    def key(data: bytes) -> bytes:
        """The name of a photo: the same bytes, the same embedding."""
        return hashlib.sha256(data).digest()

    def get(self, key: bytes) -> KnownImage | None:
        """The photo of that key, where it is kept."""
        with self._lock:
            known = self._entries.get(key)
            if known is not None:
                self._entries.move_to_end(key)
            return known

    def put(self, key: bytes, image: KnownImage) -> None:
        """Keep a photo's embedding, and let go of those that were asked for longest ago."""
        # Cloned, or one kept row would keep its whole batch alive.
        kept = KnownImage(
            image.embedding.clone(), image.probabilities.clone(), image.width, image.height
        )
        with self._lock:
            if key not in self._entries:
                self.size_bytes += _size_bytes(kept)
            self._entries[key] = kept
            while self.size_bytes > self._max_bytes:
                _, dropped = self._entries.popitem(last=False)
                self.size_bytes -= _size_bytes(dropped)


def _size_bytes(image: KnownImage) -> int:
    return image.embedding.nbytes + image.probabilities.nbytes + ENTRY_BYTES
