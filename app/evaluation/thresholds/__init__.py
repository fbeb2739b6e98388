"""Fits the serve and store thresholds of labels and reports their effect."""

from app.evaluation.thresholds.fitting import (
    ThresholdRules,
    apply_thresholds,
    fit_thresholds,
)
from app.evaluation.thresholds.run import (
    run_thresholds,
)
from app.evaluation.thresholds.summary import (
    summarise_thresholds,
)

__all__ = [
    "ThresholdRules",
    "apply_thresholds",
    "fit_thresholds",
    "run_thresholds",
    "summarise_thresholds",
]
