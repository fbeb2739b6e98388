"""Gallery selection: the photos that a listing shows first (section 6 of the paper)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from app.applications.gallery.quality import Flaw, Quality, describe_flaw
from app.applications.gallery.selection import Gain, pick_photos
from app.applications.similarity import DuplicateGroup, group_near_duplicates
from app.core.files import nearest_names
from app.core.labels import Label, LabelSet
from app.errors import ImageError, OptionError

if TYPE_CHECKING:
    from torch import Tensor

LeftOutReason = Literal[Flaw, "duplicate", "not_needed"]

DEFAULT_COUNT = 10
# The similarities of more photos would need over 100 MB.
MAX_PHOTOS = 5_000
# Weights of the categories of the built-in label set: how much a traveller misses a category.
CATEGORY_WEIGHTS = {
    "Property": 3.0,  # the building first, also before a room with many labels
    "Room": 1.25,
    "Bathroom": 1.0,
    "Kitchen and dining": 1.0,
    "Facilities and services": 1.0,
    "Outside": 0.5,  # the view, together with nature
    "Nature and season": 0.5,
    "People, animals and activities": 0.1,
}
OTHER_WEIGHT = 1.0  # of the categories of other label sets
MAX_WEIGHT = 100.0
REASON_LABELS = 3  # most labels in a reason


@dataclass(frozen=True, slots=True)
class ShownLabel:
    """A label that a photo shows.

    Attributes:
        label: the label.
        confidence: its probability, at least its `serve` threshold.
    """

    label: Label
    confidence: float


@dataclass(frozen=True, slots=True)
class Choice:
    """One photo of the gallery.

    Attributes:
        photo: its position in the listing.
        gain: what it adds to the photos before it.
        new_categories: the categories that no photo before it shows.
        new_labels: the labels that no photo before it shows, the most confident first.
    """

    photo: int
    gain: Gain
    new_categories: tuple[str, ...]
    new_labels: tuple[ShownLabel, ...]

    @property
    def reason(self) -> str:
        """Why the photo was chosen, in words."""
        labels = ", ".join(
            f"{each.label.name} {each.confidence:.2f}" for each in self.new_labels[:REASON_LABELS]
        )
        if self.new_categories:
            return f"first to show {' and '.join(self.new_categories)}: {labels}"
        if self.new_labels:
            return f"also shows {labels}"
        return "no new label; stands for photos that differ from those before it"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A photo that is not in the gallery.

    Attributes:
        photo: its position in the listing.
        reason: a flaw, `duplicate`, or `not_needed`: others add more.
        message: the reason in words.
        duplicate_of: the position of the photo that stands for it; None for other reasons.
    """

    photo: int
    reason: LeftOutReason
    message: str
    duplicate_of: int | None = None


@dataclass(frozen=True, slots=True)
class Gallery:
    """The gallery of a listing.

    Attributes:
        choices: the chosen photos in order; none if every photo has a flaw.
        duplicates: the groups of near-duplicates.
        left_out: the other photos, by position.
    """

    choices: tuple[Choice, ...]
    duplicates: tuple[DuplicateGroup, ...]
    left_out: tuple[LeftOut, ...]


def choose_gallery(
    embeddings: "Tensor",
    logits: "Tensor",
    qualities: Sequence[Quality],
    label_set: LabelSet,
    weights: Mapping[str, float],
    count: int,
) -> Gallery:
    """Choose the gallery of a listing. Equal photos are chosen by their order.

    Args:
        embeddings: (N, D) float32 unit rows.
        logits: (N, C) float32, for the label set.
        qualities: of the N photos.
        label_set: the checkpoint's labels.
        weights: of each category, as `category_weights` returns them.
        count: the most photos to choose, at least 1.
    """
    vectors: NDArray[np.float32] = embeddings.numpy()
    confidences: NDArray[np.float32] = logits.sigmoid().numpy()
    shown = np.where(confidences >= label_set.serve_thresholds, confidences, 0)
    # A bathroom is a room, but it does not stand for the category Room.
    shown[(shown > 0).astype(np.float32) @ _implied_elsewhere(label_set) > 0] = 0
    similarities = vectors @ vectors.T
    scores = np.round([quality.score for quality in qualities], 6)
    flaws = [quality.flaw for quality in qualities]
    best_first = sorted(
        range(len(qualities)), key=lambda photo: (flaws[photo] is not None, -scores[photo], photo)
    )
    duplicates = group_near_duplicates(vectors, best_first)
    best_of = {other: group.best for group in duplicates for other in group.others}
    usable = [photo for photo, flaw in enumerate(flaws) if flaw is None and photo not in best_of]
    picks = pick_photos(
        similarities[np.ix_(usable, usable)],
        shown[usable],
        _category_matrix(label_set, weights),
        scores[usable].astype(np.float32),
        count,
    )
    order = [usable[pick.photo] for pick in picks]
    choices = [
        _explain(photo, pick.gain, shown, logits.numpy(), order[:place], label_set)
        for place, (photo, pick) in enumerate(zip(order, picks, strict=True))
    ]
    left_out = []
    for photo, (quality, flaw) in enumerate(zip(qualities, flaws, strict=True)):
        if flaw is not None:
            left_out.append(LeftOut(photo, flaw, describe_flaw(quality, flaw)))
        elif photo in best_of:
            best = best_of[photo]
            message = f"near-duplicate: similarity {similarities[photo, best]:.3f}"
            left_out.append(LeftOut(photo, "duplicate", message, best))
        elif photo not in order:
            left_out.append(LeftOut(photo, "not_needed", "the chosen photos add more"))
    return Gallery(tuple(choices), tuple(duplicates), tuple(left_out))


def category_weights(label_set: LabelSet, given: Mapping[str, float]) -> dict[str, float]:
    """Return the weight of each category: as given, or the default.

    Args:
        label_set: the checkpoint's labels.
        given: weights from 0 to `MAX_WEIGHT`.

    Raises:
        OptionError: a category is unknown.
    """
    known = label_set.categories
    for name in given:
        if name not in known:
            close = nearest_names(name, known) or known
            raise OptionError(
                "weights", f"no category {name!r}; did you mean {' or '.join(close)}?"
            )
    return {name: CATEGORY_WEIGHTS.get(name, OTHER_WEIGHT) for name in known} | dict(given)


def check_count(count: int | None, photos: int) -> int:
    """Return how many photos to choose: as asked, by default up to `DEFAULT_COUNT`.

    Args:
        count: as asked for; None for the default.
        photos: number of photos of the listing, also of those that cannot be used.

    Raises:
        OptionError: the listing has fewer photos than asked for, or too many.
    """
    if photos > MAX_PHOTOS:
        raise OptionError("images", f"{photos} photos; a listing has at most {MAX_PHOTOS}")
    if count is not None and count > photos:
        raise OptionError("count", f"{count} of {photos} photos; ask for at most {photos}")
    return count or min(DEFAULT_COUNT, photos)


def flaw_error(quality: Quality) -> ImageError:
    """Return the error of a photo with a flaw, for a listing without a usable photo.

    Args:
        quality: of the photo, which has a flaw.
    """
    if quality.flaw is None:
        raise ValueError(f"{quality} has no flaw")
    return ImageError(quality.flaw, f"{describe_flaw(quality, quality.flaw)}; send another photo")


def _implied_elsewhere(label_set: LabelSet) -> NDArray[np.float32]:
    """Return (C, C): 1 where the column is an ancestor, in another category, of the row."""
    matrix = np.zeros((len(label_set.labels), len(label_set.labels)), np.float32)
    categories = {label.id: label.category for label in label_set.labels}
    columns = {label.id: column for column, label in enumerate(label_set.labels)}
    for row, label in enumerate(label_set.labels):
        for ancestor in label_set.ancestors(label.id):
            if categories[ancestor] != label.category:
                matrix[row, columns[ancestor]] = 1
    return matrix


def _category_matrix(label_set: LabelSet, weights: Mapping[str, float]) -> NDArray[np.float32]:
    """Return (C, K): the weight of each label's category, all categories together 1."""
    names = label_set.categories
    matrix = np.zeros((len(label_set.labels), len(names)), np.float32)
    total = sum(weights.values()) or 1.0
    for row, label in enumerate(label_set.labels):
        matrix[row, names.index(label.category)] = weights[label.category] / total
    return matrix


def _explain(
    photo: int,
    gain: Gain,
    shown: NDArray[np.float32],
    logits: NDArray[np.float32],
    before: Sequence[int],
    label_set: LabelSet,
) -> Choice:
    """Say which categories and labels a photo is the first to show.

    Args:
        photo: its position.
        gain: when it was chosen.
        shown: (N, C) confidences of the labels that each photo shows, 0 elsewhere.
        logits: (N, C).
        before: the photos chosen before it.
        label_set: the checkpoint's labels.
    """
    seen = (shown[list(before)] > 0).any(axis=0)
    seen_categories = {label_set.labels[column].category for column in np.flatnonzero(seen)}
    new = sorted(np.flatnonzero((shown[photo] > 0) & ~seen), key=lambda c: -logits[photo, c])
    labels = [ShownLabel(label_set.labels[c], float(shown[photo, c])) for c in new]
    categories = dict.fromkeys(each.label.category for each in labels)
    return Choice(
        photo,
        gain,
        tuple(name for name in categories if name not in seen_categories),
        tuple(labels),
    )
