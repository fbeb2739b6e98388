"""What a run trains and what it minimises."""

from app.training.objective.objectives import (
    Costs,
    Objective,
    TemperedSigmoid,
    freeze,
    image_stage,
    keep_frozen_still,
)

__all__ = [
    "Costs",
    "Objective",
    "TemperedSigmoid",
    "freeze",
    "image_stage",
    "keep_frozen_still",
]
