"""Ranking metrics, calibration and intervals, with unknown pairs masked."""

from app.evaluation.metrics.bootstrap import (
    LEVEL,
    average_precision_of_draws,
    draw_images,
    interval,
)
from app.evaluation.metrics.classes import (
    scored_classes,
    texts_of,
)
from app.evaluation.metrics.measures import (
    ClassMeasure,
    Estimate,
    Measures,
    SubsetMeasure,
    measure,
)
from app.evaluation.metrics.ranking import (
    average_precision,
    gap,
    gap_at_k,
    macro_map,
)
from app.evaluation.metrics.subsets import (
    ScoredClass,
    subsets_of,
)

__all__ = [
    "LEVEL",
    "ClassMeasure",
    "Estimate",
    "Measures",
    "ScoredClass",
    "SubsetMeasure",
    "average_precision",
    "average_precision_of_draws",
    "draw_images",
    "gap",
    "gap_at_k",
    "interval",
    "macro_map",
    "measure",
    "scored_classes",
    "subsets_of",
    "texts_of",
]
