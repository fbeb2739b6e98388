"""Selection of the labels of a response from the scores of an image."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from app.core.files import nearest_names
from app.core.labels.label_set import Label, LabelSet
from app.errors import OptionError

if TYPE_CHECKING:  # commands that only read labels must not import torch
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Tag:
    """A label of an image with its probability.

    Attributes:
        label: the label.
        confidence: its probability, in [0, 1].
        threshold: the lowest probability at which it is selected; None if it is not served by
            default, and was selected because all scores were asked for.
    """

    label: Label
    confidence: float
    threshold: float | None


@dataclass(frozen=True, slots=True)
class Selection:
    """Selects labels by their scores; created once and applied to many images.

    Attributes:
        labels: the label set, in column order.
        candidates: the columns that pass the filters.
        thresholds: C thresholds, rounded to float32; infinity for a label that is not served by
            default.
        thresholded: whether to apply the thresholds; otherwise every candidate is selected.
        max_labels: maximum number of labels; None for all.
    """

    labels: Sequence[Label]
    candidates: Sequence[int]
    thresholds: Sequence[float]
    thresholded: bool
    max_labels: int | None

    def __call__(self, logits: "Tensor") -> list[Tag]:
        """Select the labels of one image.

        Args:
            logits: (C,) float32; their sigmoids are the probabilities.

        Returns:
            The selected labels, in descending order of their logits, since several probabilities
            may round to 1 or to 0. Thresholds have no effect on the order.
        """
        scores: list[float] = logits.tolist()
        confidences: list[float] = logits.sigmoid().tolist()
        kept = self.candidates
        if self.thresholded:
            kept = [i for i in kept if confidences[i] >= self.thresholds[i]]
        best_first = sorted(kept, key=lambda i: -scores[i])
        return [
            Tag(self.labels[i], confidences[i], _threshold_of_tag(self.thresholds[i]))
            for i in best_first[: self.max_labels]
        ]


def make_selection(
    label_set: LabelSet,
    *,
    min_confidence: float | None = None,
    max_labels: int | None = None,
    include_labels: Collection[str] = (),
    include_categories: Collection[str] = (),
    exclude_labels: Collection[str] = (),
    exclude_categories: Collection[str] = (),
    all_scores: bool = False,
) -> Selection:
    """Create a selection from the options of a request.

    A label is a candidate if either include option names it (or both are empty), and neither
    exclude option does.

    Args:
        label_set: the checkpoint's labels.
        min_confidence: one threshold for all labels, including those that are not served by
            default; None for the `serve` threshold of each label.
        max_labels: maximum number of labels; None for all.
        include_labels: label ids.
        include_categories: category names.
        exclude_labels: label ids.
        exclude_categories: category names.
        all_scores: select every candidate regardless of its threshold.

    Raises:
        OptionError: a label id or category is unknown; the text suggests similar ones.
    """
    refuse_unknown("include_labels", "label", include_labels, label_set.ids)
    refuse_unknown("exclude_labels", "label", exclude_labels, label_set.ids)
    refuse_unknown("include_categories", "category", include_categories, label_set.categories)
    refuse_unknown("exclude_categories", "category", exclude_categories, label_set.categories)
    keep_all = not include_labels and not include_categories
    candidates = [
        column
        for column, label in enumerate(label_set.labels)
        if (keep_all or label.id in include_labels or label.category in include_categories)
        and label.id not in exclude_labels
        and label.category not in exclude_categories
    ]
    thresholds = (
        label_set.serve_thresholds
        if min_confidence is None
        else np.full(len(label_set.labels), min_confidence, np.float32)  # as the probabilities
    )
    return Selection(
        labels=label_set.labels,
        candidates=candidates,
        thresholds=thresholds.tolist(),
        thresholded=not all_scores,
        max_labels=max_labels,
    )


def _threshold_of_tag(threshold: float) -> float | None:
    return None if math.isinf(threshold) else threshold


def refuse_unknown(option: str, kind: str, names: Collection[str], known: Sequence[str]) -> None:
    """Refuse names that do not exist.

    Args:
        option: the option that has the names.
        kind: what they name, `label` or `category`.
        names: the names.
        known: the names that exist.

    Raises:
        OptionError: a name is unknown; the text suggests similar ones.
    """
    for name in names:
        if name not in known:
            close = nearest_names(name, known)
            hint = (
                f"did you mean {' or '.join(close)}?" if close else "the label set has none like it"
            )
            raise OptionError(option, f"no {kind} {name!r}; {hint}")
