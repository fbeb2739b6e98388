"""Calibrates the probabilities of labels on labelled photos."""

from app.evaluation.label_calibration.fitting import (
    FittedCalibrations,
    fit_calibrations,
)
from app.evaluation.label_calibration.log_odds import (
    LogOddsCurves,
    fit_log_odds,
)
from app.evaluation.label_calibration.run import (
    run_label_calibration,
)
from app.evaluation.label_calibration.summary import (
    calibrate_cross_validated,
    summarise_calibrations,
)

__all__ = [
    "FittedCalibrations",
    "LogOddsCurves",
    "calibrate_cross_validated",
    "fit_calibrations",
    "fit_log_odds",
    "run_label_calibration",
    "summarise_calibrations",
]
