"""Metrics, logs and the timings of each image."""

from app.serving.observability.logs import (
    CONTROLS,
    LogFormat,
    log_to_stderr,
)
from app.serving.observability.metrics import (
    SHARED_DIRECTORY,
    Metrics,
    ScoreMetrics,
    shared_model_labels,
)
from app.serving.observability.process_metrics import (
    record_replaced,
)
from app.serving.observability.timings import (
    Timings,
)

__all__ = [
    "CONTROLS",
    "SHARED_DIRECTORY",
    "LogFormat",
    "Metrics",
    "ScoreMetrics",
    "Timings",
    "log_to_stderr",
    "record_replaced",
    "shared_model_labels",
]
