"""The rules by which a photo is evidence: thresholds, and where they come from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from app.core.labels import Label, LabelSet
from app.core.model import Scoring

# The kinds of `ThresholdKind`, and three more, in one list for the OpenAPI document.
RuleKind = Literal[
    "best_f1",
    "precision",
    "recall",
    "fallback",
    "manual",
    "not_stated",
    "min_confidence",
    "zero_shot",
]
TEXT_THRESHOLD = 0.5  # of a probability; nothing was measured for a single text


@dataclass(frozen=True, slots=True)
class Rule:
    """A threshold and its origin.

    Attributes:
        kind: how the threshold was chosen: a label's by the kind of its `serve` threshold, or
            not_stated; min_confidence, by the request; zero_shot, the default for texts.
        threshold: the lowest confidence of evidence, in [0, 1], rounded to float32.
        scoring: how a text was scored; None for a label.
        precision: that a threshold of the kind precision was fitted for, in [0, 1]; None for
            another kind, and if the checkpoint's card does not state it.
    """

    kind: RuleKind
    threshold: float
    scoring: Scoring | None = None
    precision: float | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of a validation.

    Attributes:
        labels: C rules; None for a label that cannot be judged.
        text: the rule of every text.
    """

    labels: Sequence[Rule | None]
    text: Rule


def make_rules(
    label_set: LabelSet,
    scoring: Scoring,
    min_confidence: float | None = None,
    card_metrics: Mapping[str, Any] = MappingProxyType({}),
) -> Rules:
    """Choose the rules from the label set's thresholds and a request's threshold.

    A label is judged at its `serve` threshold, or at `min_confidence`. Without either it is not
    judged, nor is a label without a threshold of its own on which nothing was measured.

    Args:
        label_set: the checkpoint's labels.
        scoring: how texts are scored.
        min_confidence: one threshold in [0, 1] for all labels and texts.
        card_metrics: the metrics of the checkpoint's card, which may state the precision that
            `serve` thresholds were fitted for.
    """
    if min_confidence is not None:
        # In float32, as the probabilities.
        chosen = Rule("min_confidence", float(np.float32(min_confidence)))
        text = Rule(chosen.kind, chosen.threshold, scoring)
        return Rules([None if _is_unmeasured(each) else chosen for each in label_set.labels], text)
    precision = _fitted_precision(card_metrics)
    labels = [
        None if label.thresholds.serve is None else _rule_of(label, threshold, precision)
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


def _rule_of(label: Label, threshold: float, precision: float | None) -> Rule:
    kind: RuleKind = label.thresholds.kind or "not_stated"
    return Rule(kind, threshold, precision=precision if kind == "precision" else None)


def _fitted_precision(card_metrics: Mapping[str, Any]) -> float | None:
    """Return the `serve_precision` that `mumic thresholds` wrote; the metrics are free-form."""
    thresholds = card_metrics.get("thresholds")
    found = thresholds.get("serve_precision") if isinstance(thresholds, dict) else None
    return found if isinstance(found, float) and 0 <= found <= 1 else None
