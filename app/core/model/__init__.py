"""The two towers and the scores made of their embeddings."""

from app.core.model.fusion import (
    fuse_activations,
    fuse_batch_norms,
)
from app.core.model.scoring import (
    Scored,
    Scoring,
    cosines,
    l2_normalize,
    tempered_sigmoid,
)
from app.core.model.text_cache import (
    TextCache,
)
from app.core.model.towers import (
    MumicModel,
)

__all__ = [
    "MumicModel",
    "Scored",
    "Scoring",
    "TextCache",
    "cosines",
    "fuse_activations",
    "fuse_batch_norms",
    "l2_normalize",
    "tempered_sigmoid",
]
