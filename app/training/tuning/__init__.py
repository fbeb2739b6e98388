"""The search for the initial logit_scale."""

from app.training.tuning.plot import (
    plot_trials,
)
from app.training.tuning.search import (
    Search,
)
from app.training.tuning.study import (
    TABLE_FILE,
    refuse_unsearchable,
    tune,
)

__all__ = [
    "TABLE_FILE",
    "Search",
    "plot_trials",
    "refuse_unsearchable",
    "tune",
]
