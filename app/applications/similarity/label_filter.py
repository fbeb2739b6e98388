"""Filters of photos by the labels that they show."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.core.labels import LabelSet, refuse_unknown
from app.errors import OptionError


@dataclass(frozen=True, slots=True)
class LabelFilter:
    """Which photos to keep.

    Attributes:
        include: columns of labels, of which a photo must show at least one; None for any photo.
        exclude: columns of labels, of which a photo must show none.
    """

    include: tuple[int, ...] | None
    exclude: tuple[int, ...]

    @property
    def keeps_all(self) -> bool:
        """Whether every photo passes, whatever it shows."""
        return self.include is None and not self.exclude

    def __call__(self, shown: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Apply the filter.

        Args:
            shown: (N, C) whether a photo shows a label at its `serve` threshold.

        Returns:
            (N,) whether the photo passes.
        """
        kept = np.ones(len(shown), bool)
        if self.include is not None:
            kept &= shown[:, list(self.include)].any(axis=1)
        return kept & ~shown[:, list(self.exclude)].any(axis=1)


def make_label_filter(
    label_set: LabelSet,
    *,
    include_labels: Collection[str] = (),
    include_categories: Collection[str] = (),
    exclude_labels: Collection[str] = (),
    exclude_categories: Collection[str] = (),
) -> LabelFilter:
    """Create a filter from the options of a request.

    Args:
        label_set: the checkpoint's labels.
        include_labels: label ids.
        include_categories: category names.
        exclude_labels: label ids.
        exclude_categories: category names.

    Raises:
        OptionError: a label id or category is unknown (the text suggests similar ones), or a label
            is not served by default, so that no photo shows it.
    """
    refuse_unknown("include_labels", "label", include_labels, label_set.ids)
    refuse_unknown("exclude_labels", "label", exclude_labels, label_set.ids)
    refuse_unknown("include_categories", "category", include_categories, label_set.categories)
    refuse_unknown("exclude_categories", "category", exclude_categories, label_set.categories)
    _refuse_not_served("include_labels", include_labels, label_set)
    _refuse_not_served("exclude_labels", exclude_labels, label_set)
    include = _columns(label_set, include_labels, include_categories)
    return LabelFilter(
        tuple(include) if include_labels or include_categories else None,
        tuple(_columns(label_set, exclude_labels, exclude_categories)),
    )


def _columns(
    label_set: LabelSet, labels: Collection[str], categories: Collection[str]
) -> Sequence[int]:
    return [
        column
        for column, label in enumerate(label_set.labels)
        if label.id in labels or label.category in categories
    ]


def _refuse_not_served(option: str, names: Collection[str], label_set: LabelSet) -> None:
    for label in label_set.labels:
        if label.id in names and label.thresholds.serve is None:
            raise OptionError(
                option,
                f"label {label.id!r} is not served by default (serve: null), so no photo counts as "
                "showing it",
            )
