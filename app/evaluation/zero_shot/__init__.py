"""Fits the calibration of zero-shot scores and checks it on texts that it was not fitted to."""

from app.evaluation.zero_shot.fitting import (
    ZeroShotMeasure,
    fit_zero_shot,
    left_out_logits,
    measure_zero_shot,
)
from app.evaluation.zero_shot.run import (
    run_zero_shot_calibration,
)

__all__ = [
    "ZeroShotMeasure",
    "fit_zero_shot",
    "left_out_logits",
    "measure_zero_shot",
    "run_zero_shot_calibration",
]
