"""Schemas of responses; openapi.yaml is generated from them."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field
from pydantic.json_schema import SkipJsonSchema

from app.core.classifier import Classifier
from app.core.labels import Tag
from app.core.model import Scoring
from app.errors import ImageError, ImageErrorCode

# float32 carries about seven significant digits.
DIGITS = 6
# A field without a value is omitted from the response.
Omitted = SkipJsonSchema[None]
Probability = Annotated[float, AfterValidator(lambda value: round(value, DIGITS))]


class ModelInfo(BaseModel):
    """The checkpoint that produced the response."""

    name: str
    version: str
    labels_version: str


def model_info(classifier: Classifier) -> ModelInfo:
    """Build the part of a response that names the checkpoint."""
    card = classifier.checkpoint.card
    return ModelInfo(name=card.name, version=card.version, labels_version=classifier.labels.version)


class ItemError(BaseModel):
    """Why one image could not be used."""

    code: ImageErrorCode
    message: str


class FailedResult(BaseModel):
    """One image that cannot be used. It keeps its position in the results."""

    id: str
    status: Literal["error"] = "error"
    error: ItemError


def failed_result(id: str, error: ImageError) -> FailedResult:
    """Build the result of an image that cannot be used."""
    return FailedResult(id=id, error=ItemError(code=error.code, message=error.message))


class PredictedLabel(BaseModel):
    """One label of a photo."""

    id: str
    name: str
    category: str
    confidence: Probability
    threshold: Probability | None = Field(
        description="the lowest confidence at which the label is in the response; null with "
        "`all_scores` for a label that is not served by default"
    )
    parents: tuple[str, ...]


class PredictResult(BaseModel):
    """The labels of one photo, best first: in order of their logits."""

    id: str
    status: Literal["ok"] = "ok"
    width: int
    height: int
    labels: list[PredictedLabel]


def predict_result(id: str, width: int, height: int, tags: Sequence[Tag]) -> PredictResult:
    """Build one photo's result.

    Args:
        id: the result's id.
        width: the photo's, in pixels.
        height: the photo's, in pixels.
        tags: the selected labels, best first.
    """
    return PredictResult(
        id=id,
        width=width,
        height=height,
        labels=[
            PredictedLabel(
                id=tag.label.id,
                name=tag.label.name,
                category=tag.label.category,
                confidence=tag.confidence,
                threshold=tag.threshold,
                parents=tag.label.parents,
            )
            for tag in tags
        ],
    )


class EmbedResult(BaseModel):
    """One L2-normalised embedding; texts have no width and height."""

    id: str
    status: Literal["ok"] = "ok"
    width: int | Omitted = None
    height: int | Omitted = None
    dimension: int
    embedding: list[float] | str


class Score(BaseModel):
    """One text's score."""

    label: str
    confidence: Probability


class ZeroShotResult(BaseModel):
    """The scores of one photo, best first: in order of their logits."""

    id: str
    status: Literal["ok"] = "ok"
    width: int
    height: int
    scores: list[Score]


class PredictResponse(BaseModel):
    """Results in the order in which the images were sent."""

    model: ModelInfo
    results: list[PredictResult | FailedResult]


class EmbedResponse(BaseModel):
    """Results in the order in which the images or texts were sent."""

    model: ModelInfo
    results: list[EmbedResult | FailedResult]


class ZeroShotResponse(BaseModel):
    """Results in the order in which the images were sent."""

    model: ModelInfo
    scoring: Scoring = Field(description="the method that was used")
    results: list[ZeroShotResult | FailedResult]


class ModelCard(BaseModel):
    """The checkpoint's card."""

    name: str
    version: str
    labels_version: str
    labels: int
    dimension: int
    image_size_px: int
    logit_scale: float
    device: str
    precision: str
    training: dict[str, Any]
    metrics: dict[str, Any]


class Health(BaseModel):
    """State of the process."""

    status: Literal["ok"] = "ok"


class ProblemDetails(BaseModel):
    """RFC 9457 problem."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    field: str | Omitted = None
    results: list[FailedResult] | Omitted = None
