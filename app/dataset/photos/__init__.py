"""Photos as batches of pixels, decoded and augmented."""

from app.dataset.photos.decoding import (
    bad_photos,
    decode_photos,
    pixel_bytes,
    without_bad,
)
from app.dataset.photos.photo_batches import (
    Photos,
    is_mirrored,
    loaded,
    pixel_batches,
)

__all__ = [
    "Photos",
    "bad_photos",
    "decode_photos",
    "is_mirrored",
    "loaded",
    "pixel_batches",
    "pixel_bytes",
    "without_bad",
]
