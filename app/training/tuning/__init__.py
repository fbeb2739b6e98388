"""Search for the best initial logit_scale."""

from app.training.tuning.search import Search, TrialResult
from app.training.tuning.study import tune
from app.training.tuning.temperature_search import run_tuning

__all__ = ["Search", "TrialResult", "run_tuning", "tune"]
