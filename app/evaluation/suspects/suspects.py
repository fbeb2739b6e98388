"""The suspects of a dataset: likely label errors, near-duplicates, photos that no label fits."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.core.labels import LabelSet
from app.dataset.manifest import (
    SPLITS,
    NameDefinition,
    Split,
    join_cell,
    labels_implied_by,
    write_table,
)
from app.evaluation.suspects.label_errors import LabelError, LabelThresholds
from app.evaluation.suspects.near_duplicates import NearDuplicates

Kind = Literal["label", "duplicate", "no_label"]
COLUMNS = ("rank", "kind", "file", "part", "label", "given", "score", "other_file", "suggested")
MAX_SUGGESTED = 3
NO_LABEL_FIT = 0.3  # no label fits a photo if all fits are below this


@dataclass(frozen=True, slots=True)
class Suspect:
    """A finding to check by eye.

    Attributes:
        kind: `label`: the given value of a label is likely wrong. `duplicate`: another split has
            the same picture. `no_label`: no label fits the photo.
        file: the photo.
        split: its split.
        label: the label whose value is suspect; for `no_label` all labels given as present.
        given: the given value, present or absent; empty without a label.
        score: in [0, 1]; the higher, the more suspicious. Each kind has its own scale.
        other_file: for `duplicate`, the photo in the other split.
        suggested: for `duplicate` the other split; for `label` the labels that fit the photo and
            are not given as present, the best first.
    """

    kind: Kind
    file: str
    split: Split
    label: str
    given: Literal["present", "absent", ""]
    score: float
    other_file: str = ""
    suggested: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JudgedPhotos:
    """N photos and L labels, with the given and the predicted values.

    Attributes:
        files: N files.
        splits: N splits.
        labels: L names of the manifest.
        ancestors: the positions of the labels that each label implies.
        targets: (N, L); 1 present, 0 absent, -1 unknown.
        fits: (N, L) out-of-fold probability as a multiple of its mean over photos with the label;
            from 1 on the label fits. NaN for a label that cannot be judged.
    """

    files: Sequence[str]
    splits: Sequence[Split]
    labels: Sequence[str]
    ancestors: Sequence[Collection[int]]
    targets: NDArray[np.float32]
    fits: NDArray[np.float64]

    def suggested(self, photo: int) -> tuple[str, ...]:
        """Return the labels that fit a photo and are not given as present, the best first."""
        fits = np.where(self.targets[photo] == 1, np.nan, self.fits[photo])
        fitting = np.flatnonzero(fits >= 1).tolist()
        implied = {ancestor for label in fitting for ancestor in self.ancestors[label]}
        specific = [label for label in fitting if label not in implied]
        best = sorted(specific, key=lambda label: -float(fits[label]))[:MAX_SUGGESTED]
        return tuple(self.labels[label] for label in best)

    def given(self, photo: int) -> tuple[str, ...]:
        """Return the labels given as present that no other one implies."""
        present = np.flatnonzero(self.targets[photo] == 1).tolist()
        implied = {ancestor for label in present for ancestor in self.ancestors[label]}
        return tuple(self.labels[label] for label in present if label not in implied)

    def without_fit(self) -> set[int]:
        """Return the photos that no label fits, if all their given labels could be judged."""
        judged = ~np.isnan(self.fits)
        unjudged_present = ((self.targets == 1) & ~judged).any(axis=1)
        unfit = (np.where(judged, self.fits, 0) < NO_LABEL_FIT).all(axis=1)
        return set(np.flatnonzero(unfit & ~unjudged_present & judged.any(axis=1)).tolist())


def implied_labels(
    names: Mapping[str, NameDefinition], label_set: LabelSet
) -> list[frozenset[int]]:
    """Return the positions of the names that each name implies by the label set's parents.

    A label is represented by the first name that it defines; other names of it imply that one.
    """
    position_of: dict[str, int] = {}
    for position, name in enumerate(names.values()):
        if name.label:
            position_of.setdefault(name.label, position)
    return [
        frozenset(
            position_of[label]
            for label in labels_implied_by(name, label_set)
            if label in position_of
        )
        - {position}
        for position, name in enumerate(names.values())
    ]


def label_fits(
    probabilities: NDArray[np.float64], thresholds: LabelThresholds
) -> NDArray[np.float64]:
    """Return (N, L) the probabilities as multiples of the thresholds of presence."""
    return probabilities / thresholds.present


def find_suspects(
    photos: JudgedPhotos, errors: Iterable[LabelError], duplicates: Iterable[NearDuplicates]
) -> list[Suspect]:
    """Return the suspects of all kinds, the most suspicious first.

    Args:
        photos: the photos.
        errors: their likely label errors.
        duplicates: their near-duplicates.
    """
    without_fit = photos.without_fit()
    found = [
        *_duplicate_suspects(photos, duplicates),
        *_label_suspects(photos, [each for each in errors if each.photo not in without_fit]),
        *_no_label_suspects(photos, without_fit),
    ]
    return sorted(found, key=lambda each: -each.score)


def write_suspects(path: Path, suspects: Sequence[Suspect]) -> None:
    """Write a table with a row per suspect, in their order.

    Raises:
        DataError: the file cannot be written.
    """
    write_table(
        path,
        COLUMNS,
        (
            [
                *(str(rank), each.kind, each.file, each.split, each.label, each.given),
                *(f"{each.score:.4f}", each.other_file, join_cell(each.suggested)),
            ]
            for rank, each in enumerate(suspects, 1)
        ),
    )


def _label_suspects(photos: JudgedPhotos, errors: Sequence[LabelError]) -> Iterable[Suspect]:
    """Yield a suspect for each error that does not follow from that of a narrower label."""
    implied = {
        (error.photo, ancestor, error.present)
        for error in errors
        for ancestor in photos.ancestors[error.label]
    }
    for error in errors:
        if (error.photo, error.label, error.present) not in implied:
            yield Suspect(
                "label",
                photos.files[error.photo],
                photos.splits[error.photo],
                photos.labels[error.label],
                "present" if error.present else "absent",
                error.score,
                suggested=photos.suggested(error.photo),
            )


def _duplicate_suspects(
    photos: JudgedPhotos, duplicates: Iterable[NearDuplicates]
) -> Iterable[Suspect]:
    """Yield each photo with its most similar duplicate in a later split."""
    seen: set[int] = set()
    for pair in sorted(duplicates, key=lambda each: -each.score):
        by_split = sorted((pair.first, pair.second), key=lambda i: SPLITS.index(photos.splits[i]))
        photo, other = by_split
        if photos.splits[photo] != photos.splits[other] and photo not in seen:
            seen.add(photo)
            yield Suspect(
                "duplicate",
                photos.files[photo],
                photos.splits[photo],
                "",
                "",
                pair.score,
                other_file=photos.files[other],
                suggested=(photos.splits[other],),
            )


def _no_label_suspects(photos: JudgedPhotos, without_fit: Collection[int]) -> Iterable[Suspect]:
    for photo in sorted(without_fit):
        given = photos.given(photo)
        yield Suspect(
            "no_label",
            photos.files[photo],
            photos.splits[photo],
            join_cell(given),
            "present" if given else "",
            1 - float(np.nanmax(photos.fits[photo])),
        )
