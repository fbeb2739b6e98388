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
from app.core.images.photo_files import (
    SkippedFile,
    find_photos,
    read_photo_file,
)
from app.core.images.preprocessing import (
    Preprocess,
    normalize,
    stack,
)
from app.core.images.thumbnails import (
    thumbnail_url,
    thumbnail_webp,
)

__all__ = [
    "ImageLimits",
    "Pixels",
    "Preprocess",
    "SkippedFile",
    "decode",
    "decoder_fingerprint",
    "find_photos",
    "load_pixels",
    "normalize",
    "read_photo_file",
    "stack",
    "thumbnail_url",
    "thumbnail_webp",
]
