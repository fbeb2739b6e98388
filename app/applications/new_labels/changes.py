"""Changes of a label set at run time, and how they are written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from app.applications.new_labels.examples import ExamplePhoto
from app.applications.new_labels.new_label import NewLabel
from app.core.checkpoint import (
    Checkpoint,
    LabelChange,
    next_labels_version,
    next_version,
    read_checkpoint,
    write_labels,
)
from app.core.classifier import Classifier
from app.core.files import unknown_name_message
from app.core.labels import BINS, TENTHS, Added, Label, LabelSet, reference_histograms
from app.errors import BuiltInLabelError, OptionError, UnknownLabelError

HISTOGRAMS = "score_histograms"  # of the card's metrics


@dataclass(frozen=True, slots=True, eq=False)
class LabelEdit:
    """A label set after a change, with what its labels are scored by.

    Attributes:
        labels: the new label set.
        class_embeddings: (D,) of its fitted labels, by id.
        change: the entry for the card.
        metrics: of the card.
    """

    labels: LabelSet
    class_embeddings: Mapping[str, Tensor]
    change: LabelChange
    metrics: Mapping[str, Any]


def now() -> datetime:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


def add_label(
    classifier: Classifier,
    new: NewLabel,
    *,
    at: datetime,
    by: str,
    photos: Sequence[ExamplePhoto] = (),
) -> LabelEdit:
    """Add a label to the end of a checkpoint's label set.

    Args:
        classifier: the checkpoint.
        new: the label; `make_label` has checked it against the same label set.
        at: when, in UTC.
        by: who, free text.
        photos: that it was fitted to.
    """
    checkpoint = classifier.checkpoint
    added = Added(at=at, by=by, examples=new.examples)
    label = new.label.model_copy(update={"added": added})
    labels = _changed(checkpoint.labels, [*checkpoint.labels.labels, label])
    rows = _class_embeddings(classifier)
    if new.class_embedding is not None:
        rows[label.id] = new.class_embedding
    metrics = dict(checkpoint.card.metrics)
    if HISTOGRAMS in metrics:
        metrics[HISTOGRAMS] = metrics[HISTOGRAMS] | _histogram(label.id, new.negative_logits)
    change = LabelChange(
        action="added",
        label=label.id,
        at=at,
        by=by,
        labels_version=labels.version,
        examples=tuple(each.sha256 for each in photos if not each.is_counter_example),
        counter_examples=tuple(each.sha256 for each in photos if each.is_counter_example),
    )
    return LabelEdit(labels, rows, change, metrics)


def remove_label(classifier: Classifier, id: str, *, at: datetime, by: str) -> LabelEdit:
    """Remove a label that was added at run time.

    Args:
        classifier: the checkpoint.
        id: of the label.
        at: when, in UTC.
        by: who, free text.

    Raises:
        UnknownLabelError: no label has this id.
        BuiltInLabelError: the label was not added at run time.
        OptionError: it is a parent of another label.
    """
    checkpoint = classifier.checkpoint
    labels = checkpoint.labels
    if id not in labels.ids:
        raise UnknownLabelError(unknown_name_message("label", id[:64], labels.ids))
    label = labels.labels[labels.index(id)]
    if label.added is None:
        raise BuiltInLabelError(
            f"{id!r} was not added at run time; to stop serving it, set its serve threshold to "
            "null in labels.yaml and run mumic seal; another label set needs mumic import"
        )
    if children := [each.id for each in labels.labels if id in each.parents]:
        raise OptionError("id", f"{id!r} is a parent of {', '.join(children)}; remove these first")
    left = _changed(labels, [each for each in labels.labels if each.id != id])
    rows = {name: row for name, row in _class_embeddings(classifier).items() if name != id}
    metrics = dict(checkpoint.card.metrics)
    if HISTOGRAMS in metrics:
        metrics[HISTOGRAMS] = {
            name: each for name, each in metrics[HISTOGRAMS].items() if name != id
        }
    change = LabelChange(
        action="removed",
        label=id,
        at=at,
        by=by,
        labels_version=left.version,
        removed=label.model_dump(mode="json"),
    )
    return LabelEdit(left, rows, change, metrics)


def write_edit(classifier: Classifier, edit: LabelEdit, out: Path) -> Checkpoint:
    """Write the checkpoint after a change, atomically, and read it back.

    Args:
        classifier: the checkpoint before the change.
        edit: the change.
        out: the target; an existing checkpoint is replaced, and may be the source itself.

    Raises:
        CheckpointError: the target exists and is not a checkpoint.
        DiskError: the target cannot be written.
        TextError: the prompt of the label is longer than the tokenizer's context.
    """
    write_labels(
        classifier.checkpoint,
        out,
        edit.labels,
        prompt_embeddings=classifier.prompt_embeddings(edit.labels),
        class_embeddings=edit.class_embeddings,
        change=edit.change,
        metrics=edit.metrics,
    )
    return read_checkpoint(out)


def write_version(classifier: Classifier, edit: LabelEdit, parent: Path | None) -> Classifier:
    """Write the next version of a served checkpoint, and return a classifier for it.

    Args:
        classifier: the checkpoint before the change, as it is served.
        edit: the change.
        parent: the folder that the folder of versions is in; by default that of the checkpoint.

    Raises:
        RefusedCheckpointError: another process has written a newer version.
        DiskError: the folder cannot be written.
        TextError: the prompt of the label is longer than the tokenizer's context.
    """
    with next_version(classifier.checkpoint, parent) as out:
        return classifier.with_labels_of(write_edit(classifier, edit, out))


def _class_embeddings(classifier: Classifier) -> dict[str, Tensor]:
    """Return the class embeddings of the fitted labels by id, from memory."""
    labels = classifier.labels
    return {id: classifier.text_embeddings[labels.index(id)] for id in labels.fitted_ids}


def _changed(labels: LabelSet, changed: Sequence[Label]) -> LabelSet:
    """Return a validated label set with other labels and the next version."""
    return LabelSet(
        version=next_labels_version(labels.version),
        template=labels.template,
        labels=tuple(changed),
    )


def _histogram(id: str, logits: Tensor) -> dict[str, Any]:
    """Return the reference of a label's score drift; without scores, none is reported."""
    if len(logits):
        return dict(reference_histograms([id], logits[:, None].numpy()))
    return {id: {"edges": np.ravel(TENTHS).tolist(), "counts": [0] * BINS}}
