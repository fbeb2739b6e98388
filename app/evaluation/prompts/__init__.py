"""Name or description: the better text of each label."""

from app.evaluation.prompts.choice import (
    apply_prompt_choices,
    choose_prompts,
    name_and_description_texts,
)
from app.evaluation.prompts.choose import (
    run_prompts,
)
from app.evaluation.prompts.plot import (
    plot_prompt_gaps,
)

__all__ = [
    "apply_prompt_choices",
    "choose_prompts",
    "name_and_description_texts",
    "plot_prompt_gaps",
    "run_prompts",
]
