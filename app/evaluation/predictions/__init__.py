"""Embeddings and probabilities of a labelled set."""

from app.evaluation.predictions.embedding import (
    embed_photos,
    embed_texts,
)
from app.evaluation.predictions.predictions import (
    Predictions,
    predict_photos,
    titled,
)

__all__ = [
    "Predictions",
    "embed_photos",
    "embed_texts",
    "predict_photos",
    "titled",
]
