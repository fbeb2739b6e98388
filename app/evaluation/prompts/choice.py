"""Name or description: which text stands for a label (section 5.3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.core.labels import LabelSet, render
from app.evaluation.metrics import (
    average_precision,
    average_precision_of_draws,
    draw_images,
    interval,
)

Floats = NDArray[np.floating]
Prompt = Literal["name", "description"]


@dataclass(frozen=True, slots=True)
class PromptChoice:
    """What was found for one label.

    Attributes:
        id: the label's.
        positives: known positives.
        negatives: known negatives.
        name_ap: average precision by the name; NaN without a positive.
        description_ap: likewise by the description.
        low: lower end of the interval of the gap, description minus name; NaN as above.
        high: its upper end.
        present: what stood for the label so far.
        chosen: what should.
        reason: why.
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
    def gap(self) -> float:
        """Average precision by the description minus that by the name."""
        return self.description_ap - self.name_ap


def both_texts(label_set: LabelSet) -> tuple[list[str], list[str]]:
    """Every label's prompt with its name, and with its description."""
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
    """Take for each label the text of the higher average precision, where that is no chance.

    A label keeps its text when it has too few known positives or negatives, when the gap's
    bootstrap interval holds 0, or when the other text is that of another label.

    Args:
        label_set: C labels.
        targets: (N, C) presence, 1 or 0, or negative where unknown.
        name_scores: (N, C) scores by the names.
        description_scores: (N, C) scores by the descriptions.
        min_positives: known positives, and known negatives, that a choice needs.
        level: of the interval of the gap, over images drawn anew; both texts on the same draws.
        resamples: how many draws.
    """
    draws = draw_images(len(targets), resamples=resamples)
    by_name = average_precision(targets, name_scores)
    by_description = average_precision(targets, description_scores)
    gaps = average_precision_of_draws(targets, description_scores, draws)
    gaps -= average_precision_of_draws(targets, name_scores, draws)
    taken = _texts_of_others(label_set)
    choices = []
    for c, label in enumerate(label_set.labels):
        positives, negatives = int((targets[:, c] == 1).sum()), int((targets[:, c] == 0).sum())
        low, high = interval(gaps[:, c], level)
        better: Prompt = "description" if by_description[c] > by_name[c] else "name"
        chosen = label.prompt
        if min(positives, negatives) < min_positives:
            reason = "kept: too few photos"
        elif low <= 0 <= high:
            reason = "kept: within noise"
        elif better == label.prompt:
            reason = "kept: better"
        elif (label.name if better == "name" else label.description).casefold() in taken[c]:
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


def with_prompts(label_set: LabelSet, choices: Sequence[PromptChoice]) -> LabelSet:
    """The label set with the chosen texts."""
    labels = [
        label.model_copy(update={"prompt": choice.chosen})
        for label, choice in zip(label_set.labels, choices, strict=True)
    ]
    return label_set.model_copy(update={"labels": tuple(labels)})


def _texts_of_others(label_set: LabelSet) -> list[set[str]]:
    own = [{label.name.casefold(), label.description.casefold()} for label in label_set.labels]
    return [
        {text for other, texts in enumerate(own) if other != c for text in texts}
        for c in range(len(own))
    ]
