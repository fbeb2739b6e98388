"""The rules by which a photo is evidence: thresholds, and where they come from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from app.core.labels import Label, LabelSet, ThresholdKind
from app.core.model import Scoring

RuleKind = ThresholdKind | Literal["not_stated", "min_confidence", "zero_shot"]
TEXT_THRESHOLD = 0.5  # of a probability; nothing was measured for a single text


@dataclass(frozen=True, slots=True)
class Rule:
    """A threshold and its origin.

    Attributes:
        kind: how the threshold was chosen: a label's by the kind of its `serve` threshold, or
            not_stated; min_confidence, by the request; zero_shot, the default for texts.
        threshold: the lowest confidence of evidence, in [0, 1], rounded to float32.
        scoring: how a text was scored; None for a label.
    """

    kind: RuleKind
    threshold: float
    scoring: Scoring | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of a validation.

    Attributes:
        labels: C rules; None for a label that cannot be judged.
        text: the rule of every text.
    """

    labels: Sequence[Rule | None]
    text: Rule


def make_rules(label_set: LabelSet, scoring: Scoring, min_confidence: float | None = None) -> Rules:
    """Choose the rules from the label set's thresholds and a request's threshold.

    A label is judged at its `serve` threshold, or at `min_confidence`. Without either it is not
    judged, nor is a label without a threshold of its own on which nothing was measured.

    Args:
        label_set: the checkpoint's labels.
        scoring: how texts are scored.
        min_confidence: one threshold in [0, 1] for all labels and texts.
    """
    if min_confidence is not None:
        # In float32, as the probabilities.
        chosen = Rule("min_confidence", float(np.float32(min_confidence)))
        text = Rule(chosen.kind, chosen.threshold, scoring)
        return Rules([None if _is_unmeasured(each) else chosen for each in label_set.labels], text)
    labels = [
        None if label.thresholds.serve is None else Rule(_kind(label), threshold)
        for label, threshold in zip(
            label_set.labels, label_set.serve_thresholds.tolist(), strict=True
        )
    ]
    return Rules(labels, Rule("zero_shot", TEXT_THRESHOLD, scoring))


def why_not_judged(label: Label) -> str:
    """Say why a label has no rule."""
    if label.evidence == "none":
        return (
            "the checkpoint was measured on no photo with this label (evidence: none), so no "
            "confidence is known to confirm it; a person has to look at the photos"
        )
    return (
        "the label has no threshold (serve: null) in the checkpoint; send min_confidence to "
        "choose one"
    )


def _is_unmeasured(label: Label) -> bool:
    return label.evidence == "none" and label.thresholds.serve is None


def _kind(label: Label) -> RuleKind:
    return label.thresholds.kind or "not_stated"
