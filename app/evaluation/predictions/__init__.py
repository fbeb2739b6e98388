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

__all__ = [
    "Predictions",
    "checkpoints_by_title",
    "embed_photos",
    "embed_texts",
    "predict_photos",
]
