"""Search for the best initial logit_scale."""

from app.training.tuning.run import run_tuning
from app.training.tuning.search import Search, TrialResult
from app.training.tuning.study import tune

__all__ = ["Search", "TrialResult", "run_tuning", "tune"]
