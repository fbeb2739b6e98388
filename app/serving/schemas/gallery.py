"""Schemas of POST /gallery; openapi.yaml is generated from them."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from app.applications.gallery import MAX_WEIGHT, Choice, Gallery, LeftOutReason, Quality
from app.serving.schemas.requests import Count, JsonImages, LabelName, Options
from app.serving.schemas.responses import FailedResult, ModelInfo, Omitted, Probability

Weight = Annotated[float, Field(ge=0, le=MAX_WEIGHT, allow_inf_nan=False)]


class GalleryOptions(Options):
    """How many photos the gallery has."""

    count: Count | None = Field(
        None, description="photos to choose, at most as many as were sent; default: up to 10"
    )


class GalleryBody(GalleryOptions, JsonImages):
    """POST /gallery as JSON."""

    weights: dict[LabelName, Weight] = Field(
        {},
        max_length=1000,
        fail_fast=True,
        description="weight of a category in the coverage, from 0 to 100; default: 3 of "
        "Property, 1.25 of Room, 0.5 of Outside and of Nature and season, 0.1 of People, animals "
        "and activities, 1 of others",
    )


class PhotoQuality(BaseModel):
    """Measures of the photo at the size of the model's input."""

    sharpness: Probability = Field(description="below 0.4: blurred")
    brightness: Probability = Field(description="mean luma; below 0.1: too_dark")
    contrast: Probability = Field(description="standard deviation of luma")
    text: Probability = Field(
        description="share of the photo that looks like text; above 0.25: text_heavy"
    )


class GalleryGain(BaseModel):
    """What a photo adds to those before it; the sum decides the order."""

    coverage: Probability = Field(description="by labels")
    variety: Probability = Field(description="by photos of the listing that it stands for")
    quality: Probability


class NewLabel(BaseModel):
    """A label that no photo before shows."""

    id: str
    name: str
    category: str
    confidence: Probability


class ChosenPhoto(BaseModel):
    """One photo of the gallery."""

    id: str
    reason: str = Field(description="why it was chosen, in words")
    gain: GalleryGain
    new_categories: tuple[str, ...] = Field(description="categories that no photo before shows")
    new_labels: list[NewLabel] = Field(description="the most confident first")


class SimilarPhoto(BaseModel):
    """A near-duplicate."""

    id: str
    similarity: float = Field(description="cosine of the embeddings, 0.95 or more")


class DuplicatePhotos(BaseModel):
    """A group of near-duplicates."""

    best: str = Field(description="id of the photo that stands for the group")
    others: list[SimilarPhoto]


class LeftOutPhoto(BaseModel):
    """A photo that is not in the gallery."""

    id: str
    reason: LeftOutReason = Field(description="not_needed: the chosen photos add more")
    message: str
    duplicate_of: str | Omitted = Field(None, description="id; only of duplicates")


class MeasuredPhoto(BaseModel):
    """A photo that could be decoded."""

    id: str
    status: Literal["ok"] = "ok"
    width: int
    height: int
    quality: PhotoQuality


class GalleryResponse(BaseModel):
    """The gallery, the photos that are not in it, and a result for each image."""

    model: ModelInfo
    photos: list[ChosenPhoto] = Field(description="the gallery, in order")
    left_out: list[LeftOutPhoto]
    duplicates: list[DuplicatePhotos]
    results: list[MeasuredPhoto | FailedResult] = Field(
        description="in the order in which the images were sent"
    )


def measured_photo(id: str, width: int, height: int, quality: Quality) -> MeasuredPhoto:
    """Build the result of a photo that could be decoded.

    Args:
        id: the result's id.
        width: the photo's, in pixels.
        height: the photo's, in pixels.
        quality: the photo's.
    """
    measures = PhotoQuality(
        sharpness=quality.sharpness,
        brightness=quality.brightness,
        contrast=quality.contrast,
        text=quality.text,
    )
    return MeasuredPhoto(id=id, width=width, height=height, quality=measures)


def gallery_response(
    model: ModelInfo,
    gallery: Gallery,
    ids: Sequence[str],
    results: list[MeasuredPhoto | FailedResult],
) -> GalleryResponse:
    """Build the response.

    Args:
        model: the checkpoint.
        gallery: of the photos that could be decoded.
        ids: of these photos.
        results: one per image, in order.
    """
    return GalleryResponse(
        model=model,
        photos=[_chosen(choice, ids) for choice in gallery.choices],
        left_out=[
            LeftOutPhoto(
                id=ids[each.photo],
                reason=each.reason,
                message=each.message,
                duplicate_of=None if each.duplicate_of is None else ids[each.duplicate_of],
            )
            for each in gallery.left_out
        ],
        duplicates=[
            DuplicatePhotos(
                best=ids[group.best],
                others=[
                    SimilarPhoto(id=ids[other], similarity=round(similarity, 3))
                    for other, similarity in zip(group.others, group.similarities, strict=True)
                ],
            )
            for group in gallery.duplicates
        ],
        results=results,
    )


def _chosen(choice: Choice, ids: Sequence[str]) -> ChosenPhoto:
    gain = choice.gain
    return ChosenPhoto(
        id=ids[choice.photo],
        reason=choice.reason,
        gain=GalleryGain(coverage=gain.coverage, variety=gain.variety, quality=gain.quality),
        new_categories=choice.new_categories,
        new_labels=[
            NewLabel(
                id=each.label.id,
                name=each.label.name,
                category=each.label.category,
                confidence=each.confidence,
            )
            for each in choice.new_labels
        ],
    )
