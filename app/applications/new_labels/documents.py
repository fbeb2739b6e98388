"""A label as a JSON document, which carries it to another checkpoint with the same towers."""

from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from app.applications.new_labels.new_label import LabelText, NewLabel
from app.core.checkpoint import towers_key
from app.core.classifier import Classifier
from app.core.files import unknown_name_message
from app.core.labels import Calibration, Evidence, Label, Thresholds
from app.core.model import l2_normalize
from app.errors import OptionError, UnknownLabelError

MAX_NUMBERS = 65_536
Number = Annotated[float, Field(allow_inf_nan=False)]


class FittedDocument(BaseModel):
    """What a label is scored by, for one pair of towers.

    Attributes:
        towers: key of the weights and the configuration.
        embedding: D numbers of unit length; None if the label is scored by its prompt.
        examples: number of example photos that it was fitted to.
        calibration: of its logits.
        thresholds: its thresholds.
        evidence: what it was measured on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    towers: str = Field(max_length=100, description="key of the weights and the configuration")
    embedding: Annotated[tuple[Number, ...], Field(max_length=MAX_NUMBERS, strict=False)] | None = (
        Field(None, description="class embedding of unit length; null: of the label's prompt")
    )
    examples: Annotated[int, Field(ge=0)] = Field(
        0, description="number of example photos that the class embedding was fitted to"
    )
    calibration: Calibration = Field(Calibration(), description="of the label's logits")
    thresholds: Thresholds = Field(Thresholds(), description="of the label's confidences")
    evidence: Evidence | None = Field(None, description="what the label was measured on")


class LabelDocument(BaseModel):
    """A label, as GET /labels/{id} returns it and POST /labels accepts it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    name: str
    description: str
    category: str
    parents: tuple[str, ...]
    prompt: Literal["name", "description"]
    fitted: FittedDocument


def label_document(classifier: Classifier, id: str) -> LabelDocument:
    """Export a label.

    Raises:
        UnknownLabelError: no label has this id.
    """
    labels, checkpoint = classifier.labels, classifier.checkpoint
    if id not in labels.ids:
        raise UnknownLabelError(unknown_name_message("label", id[:64], labels.ids))
    label = labels.labels[labels.index(id)]
    own = classifier.text_embeddings[labels.index(id)] if label.is_fitted else None
    return LabelDocument(
        id=label.id,
        name=label.name,
        description=label.description,
        category=label.category,
        parents=label.parents,
        prompt=label.prompt,
        fitted=FittedDocument(
            towers=towers_key(checkpoint.card.sha256),
            embedding=None if own is None else tuple(own.tolist()),
            examples=label.added.examples if label.added else 0,
            calibration=label.calibration,
            thresholds=label.thresholds,
            evidence=label.evidence,
        ),
    )


def text_of_document(document: LabelDocument) -> LabelText:
    """Return what a document says of its label."""
    fields: dict[str, Any] = document.model_dump(exclude={"fitted"})
    return LabelText(**fields)


def label_of_document(classifier: Classifier, label: Label, fitted: FittedDocument) -> NewLabel:
    """Import a label that was exported from a checkpoint with the same towers.

    Args:
        classifier: the checkpoint that the label is added to.
        label: from `make_label`.
        fitted: what the label is scored by.

    Raises:
        OptionError: it is of other towers, or the class embedding is invalid.
    """
    if fitted.towers != towers_key(classifier.checkpoint.card.sha256):
        card = classifier.checkpoint.card
        raise OptionError(
            "fitted.towers",
            f"the label was exported from other weights than those of {card.name} {card.version}; "
            "add it again with its examples",
        )
    if (fitted.embedding is None) != (fitted.examples == 0):
        raise OptionError("fitted.examples", "must be above 0 with an embedding, 0 without one")
    embedding = None
    if fitted.embedding is not None:
        embedding = torch.tensor(fitted.embedding)
        length = embedding.norm().item()
        if len(embedding) != classifier.dimension or not 0.99 < length < 1.01:
            raise OptionError(
                "fitted.embedding",
                f"must be {classifier.dimension} numbers of length 1, got {len(embedding)} of "
                f"length {length:g}",
            )
        embedding = l2_normalize(embedding[None])[0]
    update = {
        "calibration": fitted.calibration,
        "thresholds": fitted.thresholds,
        "evidence": fitted.evidence,
    }
    return NewLabel(label.model_copy(update=update), embedding, fitted.examples)
