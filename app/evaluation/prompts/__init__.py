"""Chooses between name and description as the prompt text of each label."""

from app.evaluation.prompts.choice import (
    PromptChoice,
    apply_prompt_choices,
    choose_prompts,
    name_and_description_texts,
)
from app.evaluation.prompts.run import (
    run_prompts,
)

__all__ = [
    "PromptChoice",
    "apply_prompt_choices",
    "choose_prompts",
    "name_and_description_texts",
    "run_prompts",
]
