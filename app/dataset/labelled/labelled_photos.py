"""Labelled photos: the targets of a manifest's photos for every label text."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from app.core.files import nearest_names
from app.core.labels import LabelSet, tokenizer_words
from app.dataset.labelled.listing import listed
from app.dataset.labelled.soft_targets import UNKNOWN_TARGET, read_soft_targets
from app.dataset.labelled.targets import TargetExpansion, TextColumns
from app.dataset.manifest import (
    OPTIONAL_SPLIT,
    SPLITS,
    ManifestRow,
    NameDefinition,
    Split,
    TableColumns,
    names_from_labels,
    read_manifest,
    same_photo_key,
)
from app.errors import OptionError


@dataclass(frozen=True, slots=True)
class LabelledPhotos:
    """N photos, L rendered label texts, and the target of each pair.

    Attributes:
        files: N paths, as in the manifest.
        row_numbers: N row numbers in the manifest, from 1.
        photos: the folder that the files are relative to.
        splits: N splits.
        texts: L prompts; no two are the same text to the tokenizer.
        targets: (N, L) float32; 1 present, 0 absent, -1 unknown.
        soft_targets: (N, L) float16 in [0, 1] from a teacher, or -1 where unknown.
        positive_weights: (L,) float32.
        classes: name to the column of its own text, for each name that the manifest may use.
        warnings: findings that do not prevent training.
    """

    files: tuple[str, ...]
    row_numbers: tuple[int, ...]
    photos: Path
    splits: tuple[Split, ...]
    texts: tuple[str, ...]
    targets: Tensor
    soft_targets: Tensor
    positive_weights: Tensor
    classes: Mapping[str, int]
    warnings: tuple[str, ...]

    def indices(self, split: Split) -> Tensor:
        """Return the (n,) int64 positions of the photos in a split."""
        return torch.tensor(
            [i for i, each in enumerate(self.splits) if each == split], dtype=torch.int64
        )

    def columns_of(self, texts: Iterable[str]) -> Tensor:
        """Return the (t,) int64 columns of texts that the tokenizer reads as these."""
        column = {tokenizer_words(text): i for i, text in enumerate(self.texts)}
        return torch.tensor([column[tokenizer_words(text)] for text in texts], dtype=torch.int64)

    def select(self, indices: Sequence[int]) -> Self:
        """Return the data with only the photos at some positions."""
        return replace(
            self,
            files=tuple(self.files[i] for i in indices),
            row_numbers=tuple(self.row_numbers[i] for i in indices),
            splits=tuple(self.splits[i] for i in indices),
            targets=self.targets[list(indices)],
            soft_targets=self.soft_targets[list(indices)],
        )


def load_labelled_photos(
    manifest: Path,
    photos: Path,
    label_set: LabelSet,
    *,
    names: Mapping[str, NameDefinition] | None = None,
    soft_targets: Path | None = None,
    leave_out: Collection[str] = (),
    positive_weight: float = 10.0,
    split: Split = "train",
    columns: TableColumns | None = None,
) -> LabelledPhotos:
    """Read a manifest and expand its names to targets for all prompts (`TargetExpansion`).

    Args:
        manifest: CSV or Parquet, see `app.dataset.manifest.manifest_file`.
        photos: the folder that the manifest's files are relative to.
        label_set: its prompts are columns; without `names` its ids are the manifest's names.
        names: definitions of the manifest's names, where these are not label ids.
        soft_targets: a safetensors file with `targets` (N, T) in [0, 1] or -1; its metadata
            hold the JSON lists `files` and `texts`.
        leave_out: names whose human labels are not used on training photos, neither for the name
            itself, nor for its label, nor for labels that it implies. Soft targets stay.
        positive_weight: p of texts that are not the prompt of a label.
        split: a split that must not be empty.
        columns: the names of the manifest's columns, if not the default ones.

    Raises:
        DataError: the manifest or the soft targets are not valid; the message names the place.
        OptionError: a name to leave out is unknown.
    """
    known = names or names_from_labels(label_set)
    for name in leave_out:
        if name not in known:
            raise OptionError("leave-out", f"unknown name {name!r}; {_hint(name, known)}")
    rows = read_manifest(manifest, photos, known, split=split, columns=columns or TableColumns())
    text_columns = TextColumns(label_set.prompts)
    expansion = TargetExpansion(known, label_set, text_columns)
    hidden = sorted({column for name in leave_out for column in expansion.own_columns(name)})

    soft_files, soft_texts, soft = read_soft_targets(soft_targets)
    soft_columns = torch.tensor([text_columns.add(text) for text in soft_texts], dtype=torch.int64)
    size = (len(rows), len(text_columns.texts))
    targets = torch.full(size, UNKNOWN_TARGET)
    absent = torch.zeros(size, dtype=torch.bool)
    teacher = torch.full(size, UNKNOWN_TARGET, dtype=torch.float16)
    row_of = {same_photo_key(file): i for i, file in enumerate(soft_files)}
    for i, row in enumerate(rows):
        left_out = frozenset(leave_out) if row.split == "train" else frozenset[str]()
        for column, present in expansion.presence(row, left_out).items():
            targets[i, column] = float(present)
        absent[i, list(expansion.absent_descendants(row, left_out))] = True
        if (file := same_photo_key(row.file)) in row_of:
            teacher[i, soft_columns] = soft[row_of[file]]
        if left_out:
            targets[i, hidden] = UNKNOWN_TARGET
    splits = tuple(row.split for row in rows)
    targets = _with_absent_descendants(targets, absent, splits)

    weights = torch.full((size[1],), positive_weight)
    for label, prompt in zip(label_set.labels, label_set.prompts, strict=True):
        weights[text_columns.add(prompt)] = label.positive_weight
    return LabelledPhotos(
        files=tuple(row.file for row in rows),
        row_numbers=tuple(row.row_number for row in rows),
        photos=photos,
        splits=splits,
        texts=tuple(text_columns.texts),
        targets=targets,
        soft_targets=teacher,
        positive_weights=weights,
        classes=expansion.classes,
        warnings=(
            *_warnings(rows, targets, expansion.classes, leave_out),
            *_contradictions(rows, expansion),
        ),
    )


def _with_absent_descendants(targets: Tensor, absent: Tensor, splits: Sequence[Split]) -> Tensor:
    """Return the targets with 0 for unknown pairs that are absent because an ancestor is.

    In each split, only labels with a positive photo are filled in: from negatives alone a model
    would learn to answer no to any photo.

    Args:
        targets: (N, L) of the names alone.
        absent: (N, L) bool.
        splits: N splits.
    """
    filled = targets.clone()
    for split in SPLITS:
        rows = torch.tensor([each == split for each in splits])
        has_positive = (targets[rows] == 1).any(dim=0)
        filled[rows[:, None] & has_positive & absent & (targets == UNKNOWN_TARGET)] = 0
    return filled


def _warnings(
    rows: Sequence[ManifestRow],
    targets: Tensor,
    classes: Mapping[str, int],
    leave_out: Collection[str],
) -> list[str]:
    seen = (targets[[row.split == "train" for row in rows]] == 1).any(dim=0)
    without = sorted(
        name for name, column in classes.items() if not seen[column] and name not in leave_out
    )
    found = (
        [
            f"column positive: {len(without)} of {len(classes)} labels have no positive photo in "
            "the split train: their scores change and their thresholds no longer fit; add photos "
            "of them, or use a label set of your own without them (mumic import CHECKPOINT "
            "--labels labels.yaml --out DIR): "
            f"{listed(without)}"
        ]
        if without
        else []
    )
    splits = {row.split for row in rows}
    return found + [
        f"column part: no photo in the split {split}"
        for split in SPLITS
        if split not in splits and split != OPTIONAL_SPLIT
    ]


def _contradictions(rows: Sequence[ManifestRow], expansion: TargetExpansion) -> Iterable[str]:
    found = [
        f"row {row.row_number} ({', '.join(sorted(labels))})"
        for row in rows
        if (labels := expansion.contradicted(row))
    ]
    if found:
        yield (
            f"column negative: {len(found)} photos have a label in it that a positive label of the "
            f"photo implies, such as a parent; it counts as positive: {listed(found)}"
        )


def _hint(name: str, known: Collection[str]) -> str:
    return f"nearest known: {', '.join(nearest_names(name, known)) or 'none'}"
