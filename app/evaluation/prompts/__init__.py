"""Name or description: the better text of each label."""

from app.evaluation.prompts.choice import (
    both_texts,
    choose_prompts,
    with_prompts,
)
from app.evaluation.prompts.plot import (
    plot_gaps,
)

__all__ = [
    "both_texts",
    "choose_prompts",
    "plot_gaps",
    "with_prompts",
]
