"""Schemas of POST /similar; openapi.yaml is generated from them."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from app.applications.similarity import (
    DEFAULT_COUNT,
    MAX_COUNT,
    IndexedPhotos,
    LabelFilter,
    Match,
    make_label_filter,
)
from app.core.labels import LabelSet
from app.serving.schemas.requests import (
    Count,
    JsonImagesOrTexts,
    LabelNames,
    Options,
    rejoined,
)
from app.serving.schemas.responses import FailedResult, ModelInfo, Probability


class SimilarOptions(Options):
    """Which photos of the index may match, and how many do."""

    count: Annotated[Count, Field(le=MAX_COUNT)] = Field(
        DEFAULT_COUNT, description="most matches a query"
    )
    min_similarity: float = Field(
        -1.0,
        ge=-1,
        le=1,
        allow_inf_nan=False,
        description="lowest similarity of a match: a cosine, which is near 1 for photos that look "
        "alike, and far lower between a text and a photo",
    )
    include_labels: LabelNames = Field(
        (), description="label ids; a match shows one of them, or of include_categories"
    )
    include_categories: LabelNames = Field((), description="categories; see include_labels")
    exclude_labels: LabelNames = Field((), description="label ids that no match shows")
    exclude_categories: LabelNames = Field(
        (), description="categories of which no match shows a label"
    )

    def label_filter(self, label_set: LabelSet) -> LabelFilter:
        """Build the rule that says which photos may match.

        Raises:
            OptionError: a label id or category is unknown, or a label is not served by default.
        """
        return make_label_filter(
            label_set,
            include_labels=self.include_labels,
            include_categories=rejoined(self.include_categories, label_set.categories),
            exclude_labels=self.exclude_labels,
            exclude_categories=rejoined(self.exclude_categories, label_set.categories),
        )


class SimilarBody(SimilarOptions, JsonImagesOrTexts):
    """POST /similar as JSON: images or texts."""


class MatchLabel(BaseModel):
    """A label that a matching photo shows at its `serve` threshold."""

    id: str
    name: str
    category: str
    confidence: Probability


class PhotoMatch(BaseModel):
    """A photo of the index."""

    id: str = Field(description="its path below the indexed folder")
    similarity: float = Field(description="cosine of the embeddings, at most 1")
    duplicate: bool = Field(
        description="whether it is a near-duplicate of the query: a similarity of 0.95 or more"
    )
    width: int
    height: int
    labels: list[MatchLabel] = Field(description="the most confident first")


class SimilarResult(BaseModel):
    """The matches of one query, most similar first, and by id on a tie."""

    id: str
    status: Literal["ok"] = "ok"
    matches: list[PhotoMatch]


class IndexInfo(BaseModel):
    """The index that was searched."""

    photos: int = Field(description="number of photos in it")
    version: int = Field(description="of its content, which each change increases")


class SimilarResponse(BaseModel):
    """Results in the order in which the images or texts were sent."""

    model: ModelInfo
    index: IndexInfo
    results: list[SimilarResult | FailedResult]


def index_info(photos: IndexedPhotos) -> IndexInfo:
    """Build the part of a response that describes the index."""
    return IndexInfo(photos=len(photos.ids), version=photos.version)


def similar_result(id: str, matches: Sequence[Match]) -> SimilarResult:
    """Build the result of one query.

    Args:
        id: the result's id.
        matches: most similar first.
    """
    return SimilarResult(
        id=id,
        matches=[
            PhotoMatch(
                id=match.id,
                similarity=round(match.similarity, 6),
                duplicate=match.duplicate,
                width=match.width,
                height=match.height,
                labels=[
                    MatchLabel(
                        id=tag.label.id,
                        name=tag.label.name,
                        category=tag.label.category,
                        confidence=tag.confidence,
                    )
                    for tag in match.tags
                ],
            )
            for match in matches
        ],
    )
