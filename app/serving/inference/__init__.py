"""From uploads to embeddings: admission, decoding, batches, the served checkpoint."""

from app.serving.inference.engine import (
    EmbeddedImage,
    Engine,
)
from app.serving.inference.readiness import (
    Readiness,
)
from app.serving.inference.reloader import (
    Reloader,
)
from app.serving.inference.served_model import (
    ServedModel,
    names_of,
)

__all__ = [
    "EmbeddedImage",
    "Engine",
    "Readiness",
    "Reloader",
    "ServedModel",
    "names_of",
]
