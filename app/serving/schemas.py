"""What requests may say and what answers look like; openapi.yaml is made from these."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from app.core.scoring import Scoring
from app.errors import ImageError, ImageErrorCode

# Far more than a tokenizer's context holds: what these bound is the cost of finding that out.
LabelText = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)]
Template = Annotated[str, StringConstraints(max_length=200)]
LabelName = Annotated[str, StringConstraints(max_length=200)]


class Options(BaseModel):
    """Base of all options: a name that is not known is an error, never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PredictOptions(Options):
    """Which labels an answer names."""

    min_confidence: float | None = Field(
        None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="one threshold for all labels; default: each label's own `serve` threshold",
    )
    max_labels: int | None = Field(None, ge=1, description="most labels a photo")
    include_labels: tuple[LabelName, ...] = Field((), description="label ids to keep")
    include_categories: tuple[LabelName, ...] = Field((), description="categories to keep")
    exclude_labels: tuple[LabelName, ...] = Field(
        (), description="label ids to take out afterwards"
    )
    exclude_categories: tuple[LabelName, ...] = Field(
        (), description="categories to take out afterwards"
    )
    all_scores: bool = Field(
        False, description="every label that the filters leave, whatever its threshold"
    )

    @model_validator(mode="after")
    def _all_means_all(self) -> "PredictOptions":
        if self.all_scores and (self.max_labels is not None or self.min_confidence is not None):
            raise ValueError("all_scores does not go with max_labels or min_confidence")
        return self


class EmbedOptions(Options):
    """How embeddings are written."""

    encoding: Literal["float", "base64"] = Field(
        "float", description="a list of numbers, or base64 of little-endian float32"
    )


class ZeroShotOptions(Options):
    """Which texts to score, and how."""

    labels: tuple[LabelText, ...] = Field(min_length=1, description="1 to 1000 texts")
    template: Template = Field("a photo with {}", description="the text around each label")
    scoring: Scoring = Field(
        "sigmoid",
        description="sigmoid: each label by itself (MuMIC); softmax: just one of the labels; "
        "pair: each label against the text `a photo`",
    )


class JsonImage(Options):
    """One image of a JSON request."""

    id: str | None = Field(None, min_length=1, max_length=256, description="comes back as it is")
    data: str | None = Field(None, description="the file, base64")
    url: str | None = Field(None, description="switched off unless the operator allows it")

    @model_validator(mode="after")
    def _one_source(self) -> "JsonImage":
        if (self.data is None) == (self.url is None):
            raise ValueError("give either data (base64) or url")
        return self


class JsonImages(Options):
    """The images of a JSON request."""

    images: tuple[JsonImage, ...] = Field(description="1 to 64 images")


class PredictBody(PredictOptions, JsonImages):
    """POST /predict as JSON."""


class EmbedBody(EmbedOptions):
    """POST /embed as JSON: images or texts."""

    images: tuple[JsonImage, ...] | None = Field(None, description="1 to 64 images")
    texts: tuple[LabelText, ...] | None = Field(
        None, min_length=1, description="texts instead of images, embedded as they are"
    )

    @model_validator(mode="after")
    def _one_kind(self) -> "EmbedBody":
        if (self.images is None) == (self.texts is None):
            raise ValueError("give either images or texts")
        return self


class ZeroShotBody(ZeroShotOptions, JsonImages):
    """POST /zero-shot as JSON."""


class ModelInfo(BaseModel):
    """Which checkpoint answered."""

    name: str
    version: str
    labels_version: str


class ItemError(BaseModel):
    """Why one image could not be used."""

    code: ImageErrorCode
    message: str


class FailedResult(BaseModel):
    """One image that could not be used, in its place."""

    id: str
    status: Literal["error"] = "error"
    error: ItemError


def failed_result(id: str, error: ImageError) -> FailedResult:
    """One image's error as a result."""
    return FailedResult(id=id, error=ItemError(code=error.code, message=error.message))


class PredictedLabel(BaseModel):
    """One label of a photo."""

    id: str
    name: str
    category: str
    confidence: float
    threshold: float
    parents: tuple[str, ...]


class PredictResult(BaseModel):
    """The labels of one photo, best first."""

    id: str
    status: Literal["ok"] = "ok"
    width: int
    height: int
    labels: list[PredictedLabel]


class EmbedResult(BaseModel):
    """One L2-normalised embedding; a text's has no width and height."""

    id: str
    status: Literal["ok"] = "ok"
    width: int | None = None
    height: int | None = None
    dimension: int
    embedding: list[float] | str


class Score(BaseModel):
    """One text's score."""

    label: str
    confidence: float


class ZeroShotResult(BaseModel):
    """The scores of one photo, best first."""

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
    results: list[ZeroShotResult | FailedResult]


class LabelInfo(BaseModel):
    """One label of the label set."""

    id: str
    name: str
    description: str
    category: str
    parents: tuple[str, ...]
    prompt: str
    thresholds: dict[str, float]


class LabelsResponse(BaseModel):
    """The label set."""

    version: str
    categories: list[str]
    labels: list[LabelInfo]


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
    field: str | None = None
    results: list[FailedResult] | None = None
