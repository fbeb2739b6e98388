"""Chooses between name and description as the text of each label (section 5.3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.core.labels import LabelSet, render, tokenizer_words
from app.evaluation.metrics import (
    average_precision,
    bootstrap_average_precision,
    draw_bootstrap_samples,
    percentile_interval,
)

Floats = NDArray[np.floating]
Prompt = Literal["name", "description"]


@dataclass(frozen=True, slots=True)
class PromptChoice:
    """The choice for one label, and its reason.

    Attributes:
        id: the label's id.
        positives: number of known positives.
        negatives: number of known negatives.
        name_ap: average precision with the name; NaN if the label is not measured.
        description_ap: average precision with the description; likewise.
        low: lower end of the interval of the gap, description minus name; likewise.
        high: upper end of the interval.
        present: the label's current text.
        chosen: the chosen text.
        reason: the reason, which starts with "kept:" or "changed:".
    """

    id: str
    positives: int
    negatives: int
    name_ap: float
    description_ap: float
    low: float
    high: float
    present: Prompt
    chosen: Prompt
    reason: str

    @property
    def is_measured(self) -> bool:
        """Whether the label has a known positive and a known negative."""
        return self.positives > 0 and self.negatives > 0

    @property
    def gap(self) -> float:
        """Average precision with the description minus average precision with the name."""
        return self.description_ap - self.name_ap


def name_and_description_texts(label_set: LabelSet) -> tuple[list[str], list[str]]:
    """Return the prompts of all labels with the name, and with the description."""
    names = [render(label_set.template, label.name.lower()) for label in label_set.labels]
    return names, [render(label_set.template, label.description) for label in label_set.labels]


def choose_prompts(
    label_set: LabelSet,
    targets: Floats,
    name_scores: Floats,
    description_scores: Floats,
    *,
    min_positives: int,
    level: float,
    resamples: int = 1000,
) -> list[PromptChoice]:
    """Choose the text with the higher average precision for each label, if it is significant.

    A label keeps its text if it has too few known positives or negatives, if the bootstrap
    interval of the gap includes 0, or if another label uses the better text.

    Args:
        label_set: C labels.
        targets: (N, C) presence, 1 or 0, or negative where unknown.
        name_scores: (N, C) scores with the names.
        description_scores: (N, C) scores with the descriptions.
        min_positives: least number of known positives, and of known negatives, for a change.
        level: level of the bootstrap interval of the gap; both texts use the same draws.
        resamples: number of bootstrap draws.
    """
    draws = draw_bootstrap_samples(len(targets), resamples=resamples)
    by_name = average_precision(targets, name_scores)
    by_description = average_precision(targets, description_scores)
    gaps = bootstrap_average_precision(targets, description_scores, draws)
    gaps -= bootstrap_average_precision(targets, name_scores, draws)
    taken = _texts_of_others(label_set)
    choices = []
    for c, label in enumerate(label_set.labels):
        positives, negatives = int((targets[:, c] == 1).sum()), int((targets[:, c] == 0).sum())
        low, high = percentile_interval(gaps[:, c], level)
        better: Prompt = "description" if by_description[c] > by_name[c] else "name"
        chosen = label.prompt
        if min(positives, negatives) < min_positives:
            reason = "kept: too few photos"
        elif low <= 0 <= high:
            reason = "kept: within noise"
        elif better == label.prompt:
            reason = "kept: better"
        elif tokenizer_words(label.name if better == "name" else label.description) in taken[c]:
            reason = f"kept: its {better} is a text of another label"
        else:
            chosen, reason = better, "changed: better"
        choices.append(
            PromptChoice(
                id=label.id,
                positives=positives,
                negatives=negatives,
                name_ap=float(by_name[c]),
                description_ap=float(by_description[c]),
                low=low,
                high=high,
                present=label.prompt,
                chosen=chosen,
                reason=reason,
            )
        )
    return choices


def apply_prompt_choices(label_set: LabelSet, choices: Sequence[PromptChoice]) -> LabelSet:
    """Return the label set with the chosen texts.

    What was fitted to or measured on the scores of a changed text is left out
    (`Label.unmeasured`). A label that was fitted to example photos keeps its text.
    """
    labels = [
        label
        if label.prompt == choice.chosen or label.is_fitted
        else label.unmeasured().model_copy(update={"prompt": choice.chosen})
        for label, choice in zip(label_set.labels, choices, strict=True)
    ]
    return label_set.model_copy(update={"labels": tuple(labels)})


def _texts_of_others(label_set: LabelSet) -> list[set[str]]:
    own = [
        {tokenizer_words(label.name), tokenizer_words(label.description)}
        for label in label_set.labels
    ]
    return [
        {text for other, texts in enumerate(own) if other != c for text in texts}
        for c in range(len(own))
    ]
