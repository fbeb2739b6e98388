"""Ranking metrics, calibration and bootstrap intervals; unknown pairs are masked."""

from app.evaluation.metrics.bootstrap import (
    CONFIDENCE_LEVEL,
    bootstrap_average_precision,
    draw_bootstrap_samples,
    percentile_interval,
)
from app.evaluation.metrics.calibration import (
    log_loss,
    reliability_diagram,
    sigmoid,
)
from app.evaluation.metrics.classes import (
    class_texts,
    scored_classes,
)
from app.evaluation.metrics.measures import (
    MIN_INFORMATIVE_PHOTOS,
    ClassMeasure,
    Estimate,
    Measures,
    SubsetMeasure,
    compute_measures,
)
from app.evaluation.metrics.ranking import (
    average_precision,
    check_measurable,
    global_average_precision,
    global_average_precision_at_k,
    macro_map,
    measurable,
)
from app.evaluation.metrics.subsets import (
    ScoredClass,
    class_subsets,
)

__all__ = [
    "CONFIDENCE_LEVEL",
    "MIN_INFORMATIVE_PHOTOS",
    "ClassMeasure",
    "Estimate",
    "Measures",
    "ScoredClass",
    "SubsetMeasure",
    "average_precision",
    "bootstrap_average_precision",
    "check_measurable",
    "class_subsets",
    "class_texts",
    "compute_measures",
    "draw_bootstrap_samples",
    "global_average_precision",
    "global_average_precision_at_k",
    "log_loss",
    "macro_map",
    "measurable",
    "percentile_interval",
    "reliability_diagram",
    "scored_classes",
    "sigmoid",
]
