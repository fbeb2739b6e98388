"""A fingerprint of photo decoding, for caches of results that depend on pixels."""

from functools import cache
from hashlib import sha256
from importlib import resources

import PIL
import simplejpeg
import torch

from app.core.images.formats import SUPPORTED_FORMATS


@cache
def decoder_fingerprint() -> str:
    """Return a digest that changes whenever the pixels of the same file may change.

    It covers this package's source code and the versions of its decoders. A change without effect
    on pixels also changes it; then a cache is computed once more than necessary.
    """
    digest = sha256()
    for module in sorted(resources.files(__package__).iterdir(), key=lambda entry: entry.name):
        if module.name.endswith(".py"):
            digest.update(module.read_bytes())
    versions = PIL.__version__, simplejpeg.__version__, torch.__version__, SUPPORTED_FORMATS
    digest.update(repr(versions).encode())
    return digest.hexdigest()
