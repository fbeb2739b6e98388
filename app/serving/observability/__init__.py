"""Metrics, logs and the times of each image."""

from app.serving.observability.logs import (
    log_to_stderr,
)
from app.serving.observability.metrics import (
    SHARED_DIRECTORY,
    Metrics,
    shared_model,
)
from app.serving.observability.process_metrics import (
    note_replaced,
)
from app.serving.observability.timings import (
    Stages,
)

__all__ = [
    "SHARED_DIRECTORY",
    "Metrics",
    "Stages",
    "log_to_stderr",
    "note_replaced",
    "shared_model",
]
