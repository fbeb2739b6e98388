"""Compares declared facilities with the scores of a listing's photos."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from app.applications.validation.declaration import Facility
from app.applications.validation.rules import Rule, Rules, why_not_judged
from app.core.labels import Label, LabelSet

if TYPE_CHECKING:  # commands that only read labels must not import torch
    from torch import Tensor

Status = Literal["confirmed", "not_seen", "not_judged"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """A photo that shows a facility.

    Attributes:
        photo: the photo's row in the logits.
        confidence: the probability of the label or text on it, in [0, 1].
        label: the label that was seen: the facility's, or a descendant; None for a text.
        rule: the rule that the confidence meets.
    """

    photo: int
    confidence: float
    label: Label | None
    rule: Rule


@dataclass(frozen=True, slots=True)
class Finding:
    """The verdict on one declared facility.

    Attributes:
        facility: what was declared.
        status: confirmed, by at least one photo; not_seen, on no photo; not_judged, because the
            label has no rule, and no descendant was seen.
        rule: the facility's own rule; None if its label has none.
        reason: why it was not judged; None for another status.
        evidence: the photos that show it, best first; empty unless confirmed.
        best_photo: the row of the photo with the highest score of the facility itself.
        best_confidence: the probability on that photo, in [0, 1].
    """

    facility: Facility
    status: Status
    rule: Rule | None
    reason: str | None
    evidence: tuple[Evidence, ...]
    best_photo: int
    best_confidence: float


@dataclass(frozen=True, slots=True)
class Undeclared:
    """A label that photos show and that was not declared.

    Attributes:
        label: the label.
        rule: its rule.
        evidence: the photos that show it, best first; at least one.
    """

    label: Label
    rule: Rule
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class Validation:
    """The result of a validation.

    Attributes:
        declared: a finding per facility, in the order of the declaration.
        undeclared: labels that were seen but not declared, best first.
    """

    declared: tuple[Finding, ...]
    undeclared: tuple[Undeclared, ...]


@dataclass(frozen=True, slots=True)
class _Scores:
    """The logits and probabilities of one label or text on N photos, and its rule."""

    logits: Sequence[float]
    confidences: Sequence[float]
    label: Label | None
    rule: Rule | None

    def shown_on(self, photo: int) -> Evidence | None:
        """Return the evidence of a photo; None if it does not meet the rule."""
        confidence = self.confidences[photo]
        if self.rule is None or confidence < self.rule.threshold:
            return None
        return Evidence(photo, confidence, self.label, self.rule)


def validate_listing(
    facilities: Sequence[Facility],
    label_set: LabelSet,
    label_logits: "Tensor",
    text_logits: "Tensor",
    rules: Rules,
    candidates: Collection[int],
) -> Validation:
    """Judge each declared facility by a listing's photos, and find what was not declared.

    A photo is evidence of a label if its probability reaches the threshold of the label's rule. A
    photo that shows a label shows its ancestors too, so a facility is confirmed by a photo of a
    descendant, and the ancestors of what is declared count as declared.

    Args:
        facilities: what is declared.
        label_set: the checkpoint's labels, C.
        label_logits: (N, C) float32, calibrated; at least one photo.
        text_logits: (N, T) float32, for the T facilities that are texts, in order.
        rules: thresholds and their origin.
        candidates: columns of the labels that may be listed as undeclared.
    """
    labels = [
        _Scores(logits, confidences, label, rule)
        for logits, confidences, label, rule in zip(
            label_logits.T.tolist(),
            label_logits.sigmoid().T.tolist(),
            label_set.labels,
            rules.labels,
            strict=True,
        )
    ]
    texts = [
        _Scores(logits, confidences, None, rules.text)
        for logits, confidences in zip(
            text_logits.T.tolist(), text_logits.sigmoid().T.tolist(), strict=True
        )
    ]
    ids = label_set.ids
    column_of = {id: column for column, id in enumerate(ids)}
    ancestors = [label_set.ancestors(id) for id in ids]
    next_text = iter(texts)
    findings = []
    declared = set()
    for facility in facilities:
        if facility.label is None:
            own, descendants = next(next_text), []
        else:
            id = facility.label.id
            own = labels[column_of[id]]
            descendants = [labels[c] for c, above in enumerate(ancestors) if id in above]
            declared |= {id, *ancestors[column_of[id]]}
        findings.append(_judge(facility, own, descendants))
    found = [
        Undeclared(label_set.labels[column], rule, evidence)
        for column in candidates
        if ids[column] not in declared
        and (rule := rules.labels[column])
        and (evidence := _evidence(labels[column], []))
    ]
    best_first = sorted(
        found, key=lambda each: -labels[column_of[each.label.id]].logits[each.evidence[0].photo]
    )
    return Validation(tuple(findings), tuple(best_first))


def _judge(facility: Facility, own: _Scores, descendants: Sequence[_Scores]) -> Finding:
    evidence = _evidence(own, descendants)
    status: Status = "confirmed" if evidence else "not_seen" if own.rule else "not_judged"
    best = max(range(len(own.logits)), key=own.logits.__getitem__)
    return Finding(
        facility,
        status,
        own.rule,
        why_not_judged(facility.label) if status == "not_judged" and facility.label else None,
        evidence,
        best,
        own.confidences[best],
    )


def _evidence(own: _Scores, descendants: Sequence[_Scores]) -> tuple[Evidence, ...]:
    """Return the photos that show a facility, in descending order of their logits.

    A photo shows it by its own label if it can, otherwise by the descendant with the highest logit.
    """
    shown: list[tuple[float, Evidence]] = []
    for photo in range(len(own.logits)):
        below = sorted(descendants, key=lambda each: -each.logits[photo])
        for scores in (own, *below):
            if evidence := scores.shown_on(photo):
                shown.append((scores.logits[photo], evidence))
                break
    return tuple(each for _, each in sorted(shown, key=lambda pair: -pair[0]))
