"""A new label from a text and optional example photos: its class embedding and its threshold."""

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from pydantic import ValidationError
from torch import Tensor

from app.applications.new_labels.background import Background, BackgroundKind, make_background
from app.applications.new_labels.contradictions import (
    Contradiction,
    contradicting_counter_examples,
    contradicting_examples,
)
from app.applications.new_labels.decision import calibrate, choose_cut
from app.applications.new_labels.fitting import (
    MIN_FOLD_EXAMPLES,
    PENALTY,
    fit_probe,
    out_of_fold_scores,
    standardized,
    text_probe,
)
from app.core.checkpoint import known_photos
from app.core.classifier import Classifier
from app.core.files import unknown_name_message
from app.core.labels import Label, LabelSet, Thresholds, render, tokenizer_words
from app.errors import LabelExistsError, OptionError

MAX_EXAMPLES = 50
DEFAULT_CATEGORY = "Custom"
SERVE = 0.5  # the calibration puts the threshold there


@dataclass(frozen=True, slots=True)
class LabelText:
    """What a person says of a new label.

    Attributes:
        name: display name.
        id: by default derived from the name.
        description: by default the name.
        category: its category.
        parents: ids of the labels that are present whenever it is.
        prompt: the text in the prompt.
        serve: threshold of the confidence; None to choose one.
    """

    name: str
    id: str | None = None
    description: str | None = None
    category: str = DEFAULT_CATEGORY
    parents: Sequence[str] = ()
    prompt: Literal["name", "description"] = "name"
    serve: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class NewLabel:
    """A label with what it is scored by.

    Attributes:
        label: with calibration, thresholds and evidence; `added` is not set.
        class_embedding: (D,) float32, unit length; None if it is scored by its prompt.
        examples: number of examples that it was fitted to.
        background: what it was compared with; None if there was nothing.
        negative_logits: (N,) float32 calibrated logits of the negatives; empty without any.
        note: what a person should know of its threshold; None if there is nothing.
    """

    label: Label
    class_embedding: Tensor | None = None
    examples: int = 0
    background: BackgroundKind | None = None
    negative_logits: Tensor = field(default_factory=lambda: torch.empty(0))
    note: str | None = None


def make_label(text: LabelText, labels: LabelSet) -> Label:
    """Check the text of a new label against a label set.

    Raises:
        LabelExistsError: another label has the id or the text.
        OptionError: a field is invalid, or a parent is unknown.
    """
    id = text.id or _id_of(text.name)
    if not id:
        raise OptionError("id", f"none can be derived from the name {text.name[:60]!r}; give one")
    if text.prompt == "description" and not text.description:
        raise OptionError("description", "is missing, and the prompt is to contain it")
    try:
        label = Label(
            id=id,
            name=text.name,
            description=text.description or text.name,
            category=text.category,
            parents=tuple(text.parents),
            prompt=text.prompt,
            thresholds=Thresholds(serve=text.serve),
        )
    except ValidationError as error:
        first = error.errors()[0]
        problem = str(first["msg"]).removeprefix("Value error, ")
        raise OptionError(str(first["loc"][0]), f"{problem}, got {first['input']!r:.80}") from error
    if id in labels.ids:
        raise LabelExistsError(
            "id", f"a label {id!r} exists; choose another id, or remove that label first"
        )
    prompt = render(labels.template, label.text)
    words = tokenizer_words(prompt)
    for other, others_prompt in zip(labels.labels, labels.prompts, strict=True):
        if tokenizer_words(others_prompt) == words:
            raise LabelExistsError(
                text.prompt,
                f"the label {other.id!r} has the same text, {prompt!r}; choose another text",
            )
    for parent in label.parents:
        if parent not in labels.ids:
            raise OptionError("parents", unknown_name_message("label", parent, labels.ids))
    return label


def fit_label(
    classifier: Classifier,
    label: Label,
    examples: Tensor,
    counter_examples: Tensor,
) -> tuple[NewLabel, list[Contradiction]]:
    """Fit a new label to its examples, and choose its threshold.

    Args:
        classifier: the checkpoint that the label is added to.
        label: from `make_label`; a `serve` threshold stays.
        examples: (n, D) float32 unit rows that show the label.
        counter_examples: (m, D) float32 unit rows that do not; none without an example.

    Returns:
        The label, and the photos that contradict the others.

    Raises:
        OptionError: there are examples, and nothing to compare them with.
        TextError: the prompt is longer than the tokenizer's context.
    """
    checkpoint = classifier.checkpoint
    prompt = render(classifier.labels.template, label.text)
    text_embedding = classifier.embed_texts([prompt])[0]
    background = make_background(
        known_photos(checkpoint), classifier.zero_shot_calibration, label.parents
    )
    if background is None:
        if len(examples):
            raise OptionError(
                "images",
                f"examples need photos to compare them with, and the checkpoint "
                f"{checkpoint.card.name} has none; add them with: mumic labels known-photos, or "
                "add the label by its text alone",
            )
        return _without_background(label), []
    return fit_against(
        background,
        label,
        text_embedding,
        examples,
        counter_examples,
        logit_scale=classifier.logit_scale,
    )


def fit_against(
    background: Background,
    label: Label,
    text_embedding: Tensor,
    examples: Tensor,
    counter_examples: Tensor,
    *,
    logit_scale: float,
) -> tuple[NewLabel, list[Contradiction]]:
    """Fit a new label to its examples against a background, and choose its threshold.

    Args:
        background: photos most of which do not show the label.
        label: from `make_label`; a `serve` threshold stays.
        text_embedding: (D,) float32, unit length, of its prompt.
        examples: (n, D) float32 unit rows that show the label.
        counter_examples: (m, D) float32 unit rows that do not.
        logit_scale: of the checkpoint.

    Returns:
        The label, and the photos that contradict the others.
    """
    negatives = background.embeddings
    scale = math.exp(logit_scale)
    start = text_probe(text_embedding, scale, negatives)
    example_scores = None
    if len(examples) >= MIN_FOLD_EXAMPLES:
        example_scores = out_of_fold_scores(start, examples, negatives, penalty=PENALTY)
    probe = fit_probe(start, examples, negatives, penalty=PENALTY)
    contradictions = (
        []
        if example_scores is None
        else [
            *contradicting_examples(start, examples, negatives, PENALTY, example_scores),
            *contradicting_counter_examples(counter_examples, example_scores, probe, negatives),
        ]
    )
    if len(counter_examples):
        probe = fit_probe(
            start, examples, negatives, penalty=PENALTY, counter_examples=counter_examples
        )
    scores = standardized(probe, negatives, negatives)
    decision = choose_cut(torch.empty(0) if example_scores is None else example_scores, scores)
    raw = probe(negatives)
    cut = decision.cut * raw.std().item() + raw.mean().item()
    calibration = calibrate(probe.weights.norm().item(), probe.bias, cut, logit_scale)
    given = label.thresholds.serve
    serve, kind = (SERVE, decision.kind) if given is None else (given, "manual")
    fitted = label.model_copy(
        update={
            "calibration": calibration,
            "thresholds": Thresholds(serve=serve, store=min(Thresholds().store, serve), kind=kind),
            "evidence": "human" if len(examples) else "none",
        }
    )
    return (
        NewLabel(
            fitted,
            probe.class_embedding if len(examples) else None,
            len(examples),
            background.kind,
            (raw - cut).float(),
        ),
        contradictions,
    )


def _without_background(label: Label) -> NewLabel:
    serve = label.thresholds.serve
    thresholds = Thresholds(
        serve=serve,
        store=min(Thresholds().store, 1.0 if serve is None else serve),
        kind=None if serve is None else "manual",
    )
    note = (
        "the label is not served by default, since the checkpoint has neither known photos nor a "
        "calibration of zero-shot scores to choose a threshold by; give serve, or add known photos "
        "with: mumic labels known-photos"
    )
    return NewLabel(
        label.model_copy(update={"thresholds": thresholds, "evidence": "none"}),
        note=note if serve is None else None,
    )


def _id_of(name: str) -> str:
    """Derive an id from a name: `Infinity pool` to `infinity_pool`."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "_", ascii_name.lower()).strip("_")[:64].strip("_")
