"""The two towers, their fusion for inference, and the scores of their embeddings."""

from app.core.model.fusion import (
    FusionError,
    fuse_activations,
    fuse_batch_norms,
)
from app.core.model.scoring import (
    ScoredBatch,
    Scoring,
    cosines,
    l2_normalize,
    logits,
    pair_logits,
    rank_texts,
    softmax_logits,
)
from app.core.model.text_cache import (
    TextCache,
)
from app.core.model.towers import (
    MumicModel,
)

__all__ = [
    "FusionError",
    "MumicModel",
    "ScoredBatch",
    "Scoring",
    "TextCache",
    "cosines",
    "fuse_activations",
    "fuse_batch_norms",
    "l2_normalize",
    "logits",
    "pair_logits",
    "rank_texts",
    "softmax_logits",
]
