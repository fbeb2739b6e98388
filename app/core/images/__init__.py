"""Image decoding and preprocessing: formats, limits, decoding, resizing, normalisation."""

from app.core.images.decoding import (
    decode,
)
from app.core.images.fingerprint import (
    decoder_fingerprint,
)
from app.core.images.limits import (
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
    "decode",
    "decoder_fingerprint",
    "load_pixels",
    "normalize",
    "stack",
]
