"""From the bytes of a photo to uint8 pixels: formats, limits, decoding, resizing."""

from app.core.images.decoding import (
    ImageLimits,
)
from app.core.images.loading import (
    Pixels,
    load_pixels,
)
from app.core.images.preprocessing import (
    Preprocess,
    normalize,
    stack,
)

__all__ = [
    "ImageLimits",
    "Pixels",
    "Preprocess",
    "load_pixels",
    "normalize",
    "stack",
]
