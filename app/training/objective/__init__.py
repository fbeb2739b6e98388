"""Objectives: trained modules with their losses."""

from app.training.objective.losses import tempered_bce
from app.training.objective.low_rank import merge_low_rank
from app.training.objective.objectives import (
    Losses,
    Objective,
    TemperedSigmoid,
    freeze_parameters,
    image_encoders,
    set_frozen_to_eval,
)

__all__ = [
    "Losses",
    "Objective",
    "TemperedSigmoid",
    "freeze_parameters",
    "image_encoders",
    "merge_low_rank",
    "set_frozen_to_eval",
    "tempered_bce",
]
