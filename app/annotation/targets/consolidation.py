"""Consolidates votes into targets by agreement thresholds (section 3.2)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from app.annotation.questions import VoteTally
from app.annotation.requests import DEFAULT_THRESHOLD
from app.core.labels import LabelSet
from app.dataset.manifest import Annotation, NameDefinition, labels_implied_by


def targets_from_votes(
    tallies: Iterable[VoteTally],
    thresholds: Mapping[str, float],
    default: float = DEFAULT_THRESHOLD,
) -> list[Annotation]:
    """Turn votes into targets: a label is present if its agreement reaches its threshold.

    Args:
        tallies: the votes; pairs without votes stay unknown.
        thresholds: thresholds of individual labels.
        default: the threshold of the other labels.

    Returns:
        One annotation per photo, in the order of first votes.
    """
    positive: dict[str, set[str]] = {}
    negative: dict[str, set[str]] = {}
    for tally in tallies:
        present = tally.agreement >= thresholds.get(tally.label, default)
        positive.setdefault(tally.file, set())
        negative.setdefault(tally.file, set())
        (positive if present else negative)[tally.file].add(tally.label)
    return [
        Annotation(
            file=file,
            positive=frozenset(positive[file]),
            negative=frozenset(negative[file]),
            row_number=number,
        )
        for number, file in enumerate(positive, start=1)
    ]


def make_unlisted_negative(annotations: Sequence[Annotation]) -> list[Annotation]:
    """Make each label negative on the photos that do not list it as positive.

    Args:
        annotations: photos; the labels are those that any of them lists.
    """
    labels = frozenset[str]().union(*(each.positive | each.negative for each in annotations))
    return [replace(each, negative=labels - each.positive) for each in annotations]


def add_parent_labels(
    annotations: Iterable[Annotation], names: Mapping[str, NameDefinition], label_set: LabelSet
) -> list[Annotation]:
    """Make the parents of every positive label positive, regardless of votes on the parents.

    Args:
        annotations: targets.
        names: the names that the targets may use.
        label_set: defines the parents.
    """
    by_label: dict[str, set[str]] = {}
    for key, name in names.items():
        if name.label is not None:
            by_label.setdefault(name.label, set()).add(key)
    above = {
        key: {
            parent
            for label in labels_implied_by(name, label_set) - {name.label}
            for parent in by_label.get(label, ())
        }
        for key, name in names.items()
    }
    marked = []
    for annotation in annotations:
        parents = {parent for name in annotation.positive for parent in above[name]}
        marked.append(
            replace(
                annotation,
                positive=annotation.positive | parents,
                negative=annotation.negative - parents,
            )
        )
    return marked
