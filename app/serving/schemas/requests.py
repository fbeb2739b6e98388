"""Schemas of request options and bodies; openapi.yaml is generated from them."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from app.core.labels import LabelSet, Selection, make_selection
from app.core.model import Scoring

# Far longer than a tokenizer's context: the limit bounds the cost of tokenizing a text.
LabelText = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=1000),
    Field(json_schema_extra={"pattern": r"\S"}),
]
Template = Annotated[
    str, StringConstraints(max_length=200), Field(json_schema_extra={"pattern": r"\{\}"})
]
LabelName = Annotated[str, StringConstraints(max_length=200)]
# Each name is searched for in the label set, so their number is bounded.
LabelNames = Annotated[tuple[LabelName, ...], Field(max_length=1000, strict=False, fail_fast=True)]

# In JSON Schema 3.0 is an integer too.
Count = Annotated[
    int,
    Field(ge=1),
    BeforeValidator(lambda n: int(n) if isinstance(n, float) and n.is_integer() else n),
]

MAX_NAMES = 100  # in an object or a form; no endpoint has as many options


def exactly_one_of(first: str, second: str) -> dict[str, Any]:
    """Build the JSON Schema rule that exactly one of two properties is set; null counts as unset.

    Args:
        first: name of one property.
        second: name of the other property.
    """
    # By `not`: generators of clients turn `oneOf` into classes without the object's properties.
    is_set, is_unset = {"not": {"type": "null"}}, {"type": "null"}
    both_set = {"required": [first, second], "properties": {first: is_set, second: is_set}}
    both_unset = {"properties": {first: is_unset, second: is_unset}}
    return {"not": {"anyOf": [both_set, both_unset]}}


class Options(BaseModel):
    """Base of all options. An unknown name is an error.

    Attributes:
        may_omit_images: whether a form without images is a valid request.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    may_omit_images: ClassVar[bool] = False

    @model_validator(mode="before")
    @classmethod
    def _limit_names(cls, given: object) -> object:
        """Bound the number of names: one error for each of 100,000 names would take a second."""
        if isinstance(given, dict) and len(given) > MAX_NAMES:
            raise ValueError(f"{len(given)} names were sent; known: {', '.join(cls.model_fields)}")
        return given


class JsonOptions(Options):
    """Base of JSON bodies. Values must have their JSON type: the text "3" is not a number.

    Fields with lists need `strict=False`, since JSON has no tuples, and `fail_fast`: one error for
    each of many items would take seconds.
    """

    model_config = ConfigDict(strict=True)


class PredictOptions(Options):
    """Which labels a response contains."""

    model_config = ConfigDict(
        json_schema_extra={
            "not": {
                "required": ["all_scores"],
                "properties": {"all_scores": {"const": True}},
                "anyOf": [
                    {"required": ["max_labels"], "properties": {"max_labels": {"type": "integer"}}},
                    {
                        "required": ["min_confidence"],
                        "properties": {"min_confidence": {"type": "number"}},
                    },
                ],
            }
        }
    )

    min_confidence: float | None = Field(
        None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="one threshold for all labels, also for those that are not served by default; "
        "default: each label's own `serve` threshold",
    )
    max_labels: Count | None = Field(None, description="most labels a photo")
    include_labels: LabelNames = Field((), description="label ids to keep")
    include_categories: LabelNames = Field((), description="categories to keep")
    exclude_labels: LabelNames = Field((), description="label ids to take out afterwards")
    exclude_categories: LabelNames = Field((), description="categories to take out afterwards")
    all_scores: bool = Field(
        False, description="every label that the filters leave, whatever its threshold"
    )

    @model_validator(mode="after")
    def _refuse_limits_with_all_scores(self) -> "PredictOptions":
        if self.all_scores and (self.max_labels is not None or self.min_confidence is not None):
            raise ValueError("all_scores does not go with max_labels or min_confidence")
        return self

    def selection(self, label_set: LabelSet) -> Selection:
        """Build the rule that picks a photo's labels.

        Raises:
            OptionError: a label id or category is unknown.
        """
        return make_selection(
            label_set,
            min_confidence=self.min_confidence,
            max_labels=self.max_labels,
            include_labels=self.include_labels,
            include_categories=rejoined(self.include_categories, label_set.categories),
            exclude_labels=self.exclude_labels,
            exclude_categories=rejoined(self.exclude_categories, label_set.categories),
            all_scores=self.all_scores,
        )


def rejoined(names: Sequence[str], known: Sequence[str]) -> list[str]:
    """Join the items of a list again that are one known name: a form splits at every comma.

    Args:
        names: the items of a list of categories.
        known: all categories.
    """
    with_commas = {_without_blanks_at_commas(name): name for name in known if "," in name}
    longest = 1 + max((name.count(",") for name in with_commas), default=0)
    joined: list[str] = []
    index = 0
    while index < len(names):
        for count in range(longest, 0, -1):
            text = _without_blanks_at_commas(",".join(names[index : index + count]))
            if text in with_commas or count == 1:
                joined.append(with_commas.get(text, names[index]))
                index += count
                break
    return joined


def _without_blanks_at_commas(text: str) -> str:
    return ",".join(item.strip() for item in text.split(","))


class EmbedOptions(Options):
    """The format of embeddings."""

    encoding: Literal["float", "base64"] = Field(
        "float", description="a list of numbers, or base64 of little-endian float32"
    )


class ZeroShotOptions(Options):
    """Which texts to score, and the scoring method."""

    labels: tuple[LabelText, ...] = Field(
        min_length=1,
        strict=False,
        fail_fast=True,
        json_schema_extra={"uniqueItems": True},
        description="1 to 1000 texts; the tokenizer must distinguish all of them, and it ignores "
        "case, white space, HTML escapes and Unicode normalisation",
    )
    template: Template = Field("a photo with {}", description="the text around each label")
    scoring: Scoring | None = Field(
        None,
        description="calibrated: each label by itself, so that a label that fits nothing stays "
        "low; sigmoid: each label by itself, as trained (MuMIC); softmax: just one of the labels; "
        "pair: each label against the text `a photo`; default: calibrated if the checkpoint has a "
        "calibration, otherwise sigmoid",
    )


class JsonImage(JsonOptions):
    """One image of a JSON request."""

    model_config = ConfigDict(json_schema_extra=exactly_one_of("data", "url"))

    id: str | None = Field(None, min_length=1, max_length=256, description="echoed in the result")
    data: str | None = Field(None, description="the file as base64, or a data: URL of it")
    url: str | None = Field(None, description="disabled unless the operator allows it")

    @model_validator(mode="after")
    def _data_or_url(self) -> "JsonImage":
        if (self.data is None) == (self.url is None):
            raise ValueError("give either data (base64) or url")
        return self


def _image_from_text(item: object) -> object:
    match item:
        case dict() | JsonImage():
            return item
        case str() if item[:8].lower().startswith(("http://", "https://")):
            raise ValueError('a URL is sent as {"url": "https://..."}')
        case str():
            return {"data": item}
    raise ValueError('an image is a base64 text, or an object with "data" or "url"')


# A text is short for an object with `data`.
ImageItem = Annotated[
    JsonImage, BeforeValidator(_image_from_text, json_schema_input_type=JsonImage | str)
]


class JsonImages(JsonOptions):
    """The images of a JSON request."""

    images: tuple[ImageItem, ...] = Field(
        strict=False,
        fail_fast=True,
        json_schema_extra={"minItems": 1},
        description="1 to 64 images",
    )


class PredictBody(PredictOptions, JsonImages):
    """POST /predict as JSON."""


class JsonImagesOrTexts(JsonOptions):
    """The images of a JSON request, or texts instead of them."""

    model_config = ConfigDict(json_schema_extra=exactly_one_of("images", "texts"))

    images: tuple[ImageItem, ...] | None = Field(
        None,
        strict=False,
        fail_fast=True,
        json_schema_extra={"minItems": 1},
        description="1 to 64 images",
    )
    texts: tuple[LabelText, ...] | None = Field(
        None,
        min_length=1,
        strict=False,
        fail_fast=True,
        description="texts instead of images, embedded as they are",
    )

    @model_validator(mode="after")
    def _images_or_texts(self) -> Self:
        if (self.images is None) == (self.texts is None):
            raise ValueError("give either images or texts")
        return self


class EmbedBody(EmbedOptions, JsonImagesOrTexts):
    """POST /embed as JSON: images or texts."""


class ZeroShotBody(ZeroShotOptions, JsonImages):
    """POST /zero-shot as JSON."""
