"""Schemas of /labels; openapi.yaml is generated from them."""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Field, StringConstraints

from app.applications.new_labels import (
    DEFAULT_CATEGORY,
    MAX_EXAMPLES,
    FittedDocument,
    LabelText,
)
from app.core.labels import Evidence, Label, LabelId, LabelSet, ThresholdKind
from app.serving.schemas.requests import ImageItem, JsonOptions, LabelName, LabelNames, Options
from app.serving.schemas.responses import ModelInfo, Omitted

ShortText = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
    Field(json_schema_extra={"pattern": r"\S"}),
]
LongText = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=1000),
    Field(json_schema_extra={"pattern": r"\S"}),
]
Author = Annotated[str, StringConstraints(max_length=200)]


class LabelOptions(Options):
    """A new label."""

    may_omit_images: ClassVar[bool] = True

    name: ShortText = Field(description="display name")
    id: LabelId | None = Field(None, description="default: derived from the name")
    description: LongText | None = Field(None, description="default: the name")
    category: ShortText = Field(DEFAULT_CATEGORY, description="an existing or a new category")
    parents: LabelNames = Field(
        (), description="ids of labels that are present whenever this label is"
    )
    prompt: Literal["name", "description"] = Field(
        "name", description="the text that the label is scored by"
    )
    serve: float | None = Field(
        None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="threshold of the confidence; default: chosen by the examples and the known "
        "photos of the checkpoint",
    )
    author: Author = Field("", description="who adds the label, kept with it")
    counter_examples: Annotated[
        tuple[LabelName, ...], Field(max_length=1000, strict=False, fail_fast=True)
    ] = Field((), description="ids of those images that do not show the label")
    accept_contradictions: bool = Field(
        False, description="whether to use examples that contradict the others"
    )

    def text(self) -> LabelText:
        """Return what the request says of the label."""
        return LabelText(
            name=self.name,
            id=self.id,
            description=self.description,
            category=self.category,
            parents=self.parents,
            prompt=self.prompt,
            serve=self.serve,
        )


class LabelBody(LabelOptions, JsonOptions):
    """POST /labels as JSON."""

    images: tuple[ImageItem, ...] | None = Field(
        None,
        strict=False,
        fail_fast=True,
        description=f"up to {MAX_EXAMPLES} photos that show the label, and up to {MAX_EXAMPLES} "
        "that do not, which counter_examples names",
    )
    fitted: FittedDocument | Omitted = Field(
        None,
        description="from GET /labels/{id} of a server with the same weights, instead of images",
    )


class LabelThresholds(BaseModel):
    """Lowest probabilities at which a label is used."""

    serve: float | None = Field(description="in a response; null: not served by default")
    store: float
    kind: ThresholdKind | None = Field(
        description="how `serve` was chosen: fitted for the best F1, a precision or a guaranteed "
        "recall, a guess without photos, or by a person; null: not stated"
    )


class LabelCalibration(BaseModel):
    """Calibration of a label's confidences: log odds = scale * logit + offset."""

    scale: float
    offset: float


class AddedInfo(BaseModel):
    """How a label was added at run time."""

    at: datetime = Field(description="in UTC")
    by: str = Field(description="who, empty if that is not stated")
    examples: int = Field(description="photos that it was fitted to; 0: scored by its prompt")


class LabelInfo(BaseModel):
    """One label of the label set."""

    id: str
    name: str
    description: str
    category: str
    parents: tuple[str, ...]
    prompt: str
    thresholds: LabelThresholds
    calibration: LabelCalibration = Field(description="scale 1 and offset 0: not calibrated")
    evidence: Evidence | None = Field(
        description="what the label was measured on: judgements of people, targets of another "
        "model, or nothing; null: not stated"
    )
    added: AddedInfo | Omitted = Field(
        None,
        exclude_if=lambda added: added is None,
        description="only of labels that were added at run time",
    )


class LabelsResponse(BaseModel):
    """The label set."""

    version: str
    categories: list[str]
    labels: list[LabelInfo]


class AddedLabelResponse(BaseModel):
    """The label as it is served from now on."""

    model: ModelInfo
    label: LabelInfo
    compared_with: Literal["known_photos", "moments"] | None = Field(
        description="what the threshold was chosen by: known photos, or photos drawn from the "
        "mean and the covariance of photos; null: there was neither, or the label was imported"
    )
    note: str | None = Field(description="what to know of the threshold")


class RemovedLabelResponse(BaseModel):
    """The label that is not served any more."""

    model: ModelInfo
    removed: str


def label_info(label: Label, prompt: str) -> LabelInfo:
    """Build the description of a label.

    Args:
        label: the label.
        prompt: its rendered prompt.
    """
    fields: dict[str, Any] = label.model_dump(exclude={"prompt", "positive_weight"})
    return LabelInfo(prompt=prompt, **fields)


def labels_response(label_set: LabelSet) -> LabelsResponse:
    """Build the answer of GET /labels."""
    return LabelsResponse(
        version=label_set.version,
        categories=label_set.categories,
        labels=[
            label_info(label, prompt)
            for label, prompt in zip(label_set.labels, label_set.prompts, strict=True)
        ],
    )
