"""Thresholds from which labels are served and stored."""

from app.evaluation.thresholds.fit import (
    run_thresholds,
)
from app.evaluation.thresholds.fitting import (
    ThresholdRules,
    apply_thresholds,
    fit_thresholds,
    serve_evidence,
)
from app.evaluation.thresholds.summary import (
    THRESHOLD_TABLE_HEADER,
    summarise_thresholds,
    threshold_table_rows,
)

__all__ = [
    "THRESHOLD_TABLE_HEADER",
    "ThresholdRules",
    "apply_thresholds",
    "fit_thresholds",
    "run_thresholds",
    "serve_evidence",
    "summarise_thresholds",
    "threshold_table_rows",
]
