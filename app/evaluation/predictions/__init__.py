"""Embeds and scores the photos and texts of a labelled dataset."""

from app.evaluation.predictions.embedding import (
    embed_photos,
    embed_texts,
)
from app.evaluation.predictions.predictions import (
    Predictions,
    checkpoints_by_title,
    predict_photos,
)
from app.evaluation.predictions.requested_photos import (
    load_requested_photos,
)
from app.evaluation.predictions.reused_splits import (
    fitting_warnings,
    measuring_warnings,
)

__all__ = [
    "Predictions",
    "checkpoints_by_title",
    "embed_photos",
    "embed_texts",
    "fitting_warnings",
    "load_requested_photos",
    "measuring_warnings",
    "predict_photos",
]
