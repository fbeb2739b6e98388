"""From uploads to embeddings: admission, decoding, batches, the served checkpoint."""

from app.serving.inference.embedded_image import (
    EmbeddedImage,
)
from app.serving.inference.engine import (
    Engine,
)
from app.serving.inference.readiness import (
    Readiness,
)
from app.serving.inference.reloader import (
    Reloader,
)
from app.serving.inference.served_index import (
    ServedIndex,
)
from app.serving.inference.served_model import (
    ServedModel,
    model_metric_labels,
)

__all__ = [
    "EmbeddedImage",
    "Engine",
    "Readiness",
    "Reloader",
    "ServedIndex",
    "ServedModel",
    "model_metric_labels",
]
