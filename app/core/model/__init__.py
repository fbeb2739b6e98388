"""The two towers, their fusion for inference, and the scores of their embeddings."""

from app.core.model.fusion import (
    FusionError,
    fuse_activations,
    fuse_batch_norms,
)
from app.core.model.scoring import (
    ScoredBatch,
    Scoring,
    calibrated_logits,
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
from app.core.model.zero_shot import (
    Moments,
    ZeroShotCalibration,
    calibrated_zero_shot_logits,
    moments,
    normalized_cosines,
)

__all__ = [
    "FusionError",
    "Moments",
    "MumicModel",
    "ScoredBatch",
    "Scoring",
    "TextCache",
    "ZeroShotCalibration",
    "calibrated_logits",
    "calibrated_zero_shot_logits",
    "cosines",
    "fuse_activations",
    "fuse_batch_norms",
    "l2_normalize",
    "logits",
    "moments",
    "normalized_cosines",
    "pair_logits",
    "rank_texts",
    "softmax_logits",
]
