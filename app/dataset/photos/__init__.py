"""Decodes, augments and batches the photos of a dataset."""

from app.dataset.photos.decoding import (
    decode_photos,
    decoded_size_bytes,
    drop_undecodable_photos,
    undecodable_photo_lines,
)
from app.dataset.photos.photo_batches import (
    PhotoDataset,
    draw_mirror_flip,
    iterate_batches,
    pixel_batches,
)

__all__ = [
    "PhotoDataset",
    "decode_photos",
    "decoded_size_bytes",
    "draw_mirror_flip",
    "drop_undecodable_photos",
    "iterate_batches",
    "pixel_batches",
    "undecodable_photo_lines",
]
