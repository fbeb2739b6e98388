"""Chooses between name and description as the prompt text of each label."""

from app.evaluation.prompts.choice import (
    apply_prompt_choices,
    choose_prompts,
    name_and_description_texts,
)
from app.evaluation.prompts.run import (
    run_prompts,
)

__all__ = [
    "apply_prompt_choices",
    "choose_prompts",
    "name_and_description_texts",
    "run_prompts",
]
