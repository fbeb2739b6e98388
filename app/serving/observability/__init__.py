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
    Timings,
)

__all__ = [
    "SHARED_DIRECTORY",
    "Metrics",
    "Timings",
    "log_to_stderr",
    "note_replaced",
    "shared_model",
]
