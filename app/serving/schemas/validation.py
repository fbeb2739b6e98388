"""Schemas of POST /validate; openapi.yaml is generated from them."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, Field

from app.applications.validation import Evidence, Finding, Rule, RuleKind, Status, Validation
from app.core.labels import Label, LabelSet, make_selection
from app.core.model import Scoring
from app.serving.schemas.requests import JsonImages, LabelNames, LabelText, Options, rejoined
from app.serving.schemas.responses import FailedResult, ModelInfo, Omitted, Probability


class ValidateOptions(Options):
    """What a listing declares, and what is reported beyond it."""

    declared: tuple[LabelText, ...] = Field(
        min_length=1,
        strict=False,
        fail_fast=True,
        json_schema_extra={"uniqueItems": True},
        description="1 to 1000 facilities: label ids, label names, or texts of your own, which are "
        "scored by zero-shot; the same facility only once",
    )
    min_confidence: float | None = Field(
        None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="one threshold for all labels and texts; default: each label's own `serve` "
        "threshold, and 0.5 for texts",
    )
    include_labels: LabelNames = Field((), description="label ids to report as undeclared")
    include_categories: LabelNames = Field((), description="categories to report as undeclared")
    exclude_labels: LabelNames = Field(
        (), description="label ids not to report as undeclared, taken out afterwards"
    )
    exclude_categories: LabelNames = Field(
        (), description="categories not to report as undeclared, taken out afterwards"
    )

    def candidates(self, label_set: LabelSet) -> Sequence[int]:
        """Return the columns of the labels that may be reported as undeclared.

        Raises:
            OptionError: a label id or category is unknown.
        """
        return make_selection(
            label_set,
            include_labels=self.include_labels,
            include_categories=rejoined(self.include_categories, label_set.categories),
            exclude_labels=self.exclude_labels,
            exclude_categories=rejoined(self.exclude_categories, label_set.categories),
        ).candidates


class ValidateBody(ValidateOptions, JsonImages):
    """POST /validate as JSON."""


class ValidationRule(BaseModel):
    """The rule by which a photo is evidence: its confidence reaches the threshold."""

    kind: RuleKind = Field(
        description="how the threshold was chosen. A label's `serve` threshold: best_f1, precision "
        "or recall, fitted to labelled photos for that figure; fallback, a guess; manual, by a "
        "person; not_stated. min_confidence: by the request. zero_shot: the default for texts"
    )
    threshold: Probability
    scoring: Scoring | Omitted = Field(None, description="how a text was scored; only of texts")
    precision: Probability | Omitted = Field(
        None, description="that a threshold of the kind precision was fitted for, if it is known"
    )


class EvidencePhoto(BaseModel):
    """A photo that shows a facility."""

    id: str
    label: str | Omitted = Field(
        None, description="id of the label that was seen: the facility's, or one below it"
    )
    confidence: Probability
    rule: ValidationRule


class BestPhoto(BaseModel):
    """The photo with the highest score of a facility, whether or not it is evidence."""

    id: str
    confidence: Probability


class LabelReference(BaseModel):
    """A label of the label set."""

    id: str
    name: str
    category: str
    parents: tuple[str, ...]


class DeclaredFacility(BaseModel):
    """The verdict on one declared facility."""

    text: str = Field(description="as declared")
    kind: Literal["label", "text"]
    label: LabelReference | Omitted = Field(None, description="what the text names")
    similar_labels: tuple[str, ...] | Omitted = Field(
        None, description="ids of labels with names similar to a text, which may be meant"
    )
    status: Status = Field(
        description="confirmed by at least one photo; not_seen on any photo; not_judged: the "
        "checkpoint cannot judge the label"
    )
    reason: str | Omitted = Field(None, description="why it was not judged")
    rule: ValidationRule | Omitted = Field(None, description="omitted if it was not judged")
    evidence: list[EvidencePhoto] = Field(description="best first")
    best_photo: BestPhoto


class UndeclaredLabel(BaseModel):
    """A label that photos show and that was not declared."""

    label: LabelReference
    rule: ValidationRule
    evidence: list[EvidencePhoto] = Field(description="best first, at least one photo")


class ValidatedPhoto(BaseModel):
    """A photo that was used."""

    id: str
    status: Literal["ok"] = "ok"
    width: int
    height: int


class ValidateResponse(BaseModel):
    """Verdicts in the order of the declaration, and results in the order of the images."""

    model: ModelInfo
    declared: list[DeclaredFacility]
    undeclared: list[UndeclaredLabel] = Field(description="seen but not declared, best first")
    results: list[ValidatedPhoto | FailedResult]


def validate_response(
    model: ModelInfo,
    results: list[ValidatedPhoto | FailedResult],
    validation: Validation,
) -> ValidateResponse:
    """Build the response.

    Args:
        model: the checkpoint.
        results: one per image, in order.
        validation: of the images that could be used.
    """
    ids = [result.id for result in results if isinstance(result, ValidatedPhoto)]
    return ValidateResponse(
        model=model,
        declared=[_declared(finding, ids) for finding in validation.declared],
        undeclared=[
            UndeclaredLabel(
                label=_reference(found.label),
                rule=_rule(found.rule),
                evidence=_photos(found.evidence, ids),
            )
            for found in validation.undeclared
        ],
        results=results,
    )


def _declared(finding: Finding, ids: Sequence[str]) -> DeclaredFacility:
    facility = finding.facility
    return DeclaredFacility(
        text=facility.text,
        kind="label" if facility.label else "text",
        label=_reference(facility.label) if facility.label else None,
        similar_labels=None if facility.label else facility.similar,
        status=finding.status,
        reason=finding.reason,
        rule=_rule(finding.rule) if finding.rule else None,
        evidence=_photos(finding.evidence, ids),
        best_photo=BestPhoto(id=ids[finding.best_photo], confidence=finding.best_confidence),
    )


def _reference(label: Label) -> LabelReference:
    return LabelReference(
        id=label.id, name=label.name, category=label.category, parents=label.parents
    )


def _rule(rule: Rule) -> ValidationRule:
    return ValidationRule(
        kind=rule.kind,
        threshold=rule.threshold,
        scoring=rule.scoring,
        precision=rule.precision,
    )


def _photos(evidence: Sequence[Evidence], ids: Sequence[str]) -> list[EvidencePhoto]:
    return [
        EvidencePhoto(
            id=ids[each.photo],
            label=each.label.id if each.label else None,
            confidence=each.confidence,
            rule=_rule(each.rule),
        )
        for each in evidence
    ]
