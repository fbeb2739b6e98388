"""Compares checkpoints, the original CLIP and ASL classifiers on the same photos."""

from app.baselines.comparison.compared_models import parse_compared_models, score_compared_models
from app.baselines.comparison.comparison import Scored, compare
from app.baselines.comparison.run import run_comparison
from app.baselines.comparison.tables import METRICS, markdown_lines, metrics_of, percent

__all__ = [
    "METRICS",
    "Scored",
    "compare",
    "markdown_lines",
    "metrics_of",
    "parse_compared_models",
    "percent",
    "run_comparison",
    "score_compared_models",
]
