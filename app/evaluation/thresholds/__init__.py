"""Thresholds from which labels are served and stored."""

from app.evaluation.thresholds.fitting import (
    ThresholdRules,
    evidence_of,
    fit_thresholds,
    with_thresholds,
)
from app.evaluation.thresholds.summary import (
    HEADER,
    rows,
    summarise,
)

__all__ = [
    "HEADER",
    "ThresholdRules",
    "evidence_of",
    "fit_thresholds",
    "rows",
    "summarise",
    "with_thresholds",
]
