"""What a model is trained on: photos, label texts, and the targets between them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from app.core.files import nearest
from app.core.labels import LabelSet
from app.dataset.labelled.soft_targets import UNKNOWN, read_soft_targets
from app.dataset.labelled.targets import Columns, Expansion
from app.dataset.manifest import PARTS, Name, Part, Row, names_of, read_manifest
from app.errors import OptionError


@dataclass(frozen=True, slots=True)
class LabelledPhotos:
    """N photos, L rendered label texts, and what is known of each pair.

    Attributes:
        files: N paths as the manifest has them.
        lines: N row numbers in the manifest, from 1.
        photos: the folder that they are relative to.
        parts: N parts.
        texts: L prompts, none twice (upper and lower case are one).
        targets: (N, L) float32; 1 present, 0 absent, -1 unknown.
        soft_targets: (N, L) float16 in [0, 1] from a teacher, or -1 where there is none.
        positive_weights: (L,) float32.
        classes: each name that the manifest may use, and the column of its own text.
        warnings: what is odd but can be trained on.
    """

    files: tuple[str, ...]
    lines: tuple[int, ...]
    photos: Path
    parts: tuple[Part, ...]
    texts: tuple[str, ...]
    targets: Tensor
    soft_targets: Tensor
    positive_weights: Tensor
    classes: Mapping[str, int]
    warnings: tuple[str, ...]

    def indices(self, part: Part) -> Tensor:
        """(n,) int64 positions of a part's photos."""
        return torch.tensor([i for i, p in enumerate(self.parts) if p == part], dtype=torch.int64)

    def columns_of(self, texts: Iterable[str]) -> Tensor:
        """(t,) int64 positions of texts among those of the data, upper and lower case alike."""
        column = {text.casefold(): i for i, text in enumerate(self.texts)}
        return torch.tensor([column[text.casefold()] for text in texts], dtype=torch.int64)

    def select(self, indices: Sequence[int]) -> Self:
        """The same texts, and of the photos only those at some positions."""
        return replace(
            self,
            files=tuple(self.files[i] for i in indices),
            lines=tuple(self.lines[i] for i in indices),
            parts=tuple(self.parts[i] for i in indices),
            targets=self.targets[list(indices)],
            soft_targets=self.soft_targets[list(indices)],
        )


def load_labelled(
    manifest: Path,
    photos: Path,
    label_set: LabelSet,
    *,
    names: Mapping[str, Name] | None = None,
    soft_targets: Path | None = None,
    leave_out: Collection[str] = (),
    positive_weight: float = 10.0,
    part: Part = "train",
) -> LabelledPhotos:
    """Read a manifest and expand its names to targets over all prompts, see `Expansion`.

    Args:
        manifest: CSV or Parquet, see `app.dataset.manifest.manifest_file`.
        photos: the folder that the manifest's files are relative to.
        label_set: its prompts are columns; without `names` its ids are the manifest's names.
        names: the manifest's names, where they are not label ids.
        soft_targets: a safetensors file with `targets` (N, T) in [0, 1] or -1, whose metadata
            hold the JSON lists `files` and `texts`.
        leave_out: names of which no training photo's human label is used: not its own, not its
            label's, not that of what it implies. A teacher's targets stay.
        positive_weight: p of texts that are no label's prompt.
        part: the part that may not be empty.

    Raises:
        DataError: naming file, row and column.
        OptionError: a name to leave out is unknown.
    """
    known = names or names_of(label_set)
    for name in leave_out:
        if name not in known:
            raise OptionError("leave-out", f"unknown name {name!r}; {_hint(name, known)}")
    rows = read_manifest(manifest, photos, known, part=part)
    columns = Columns(label_set.prompts)
    expansion = Expansion(known, label_set, columns)
    hidden = sorted({column for name in leave_out for column in expansion.own_columns(name)})

    soft_files, soft_texts, soft = read_soft_targets(soft_targets)
    soft_columns = torch.tensor([columns.add(text) for text in soft_texts], dtype=torch.int64)
    size = (len(rows), len(columns.texts))
    targets = torch.full(size, UNKNOWN)
    teacher = torch.full(size, UNKNOWN, dtype=torch.float16)
    row_of = {file: i for i, file in enumerate(soft_files)}
    for i, row in enumerate(rows):
        left_out = frozenset(leave_out) if row.part == "train" else frozenset[str]()
        for column, present in expansion.pairs(row, left_out).items():
            targets[i, column] = float(present)
        if row.file in row_of:
            teacher[i, soft_columns] = soft[row_of[row.file]]
        if left_out:
            targets[i, hidden] = UNKNOWN

    weights = torch.full((size[1],), positive_weight)
    for label, prompt in zip(label_set.labels, label_set.prompts, strict=True):
        weights[columns.add(prompt)] = label.positive_weight
    return LabelledPhotos(
        files=tuple(row.file for row in rows),
        lines=tuple(row.line for row in rows),
        photos=photos,
        parts=tuple(row.part for row in rows),
        texts=tuple(columns.texts),
        targets=targets,
        soft_targets=teacher,
        positive_weights=weights,
        classes=expansion.classes,
        warnings=tuple(_warnings(rows, targets, expansion.classes, leave_out)),
    )


def _warnings(
    rows: Sequence[Row], targets: Tensor, classes: Mapping[str, int], leave_out: Collection[str]
) -> list[str]:
    seen = (targets[[row.part == "train" for row in rows]] == 1).any(dim=0)
    without = sorted(
        name for name, column in classes.items() if not seen[column] and name not in leave_out
    )
    found = (
        [f"column positive: no positive photo in the part train: {', '.join(without)}"]
        if without
        else []
    )
    parts = {row.part for row in rows}
    return found + [
        f"column part: no photo in the part {part}" for part in PARTS if part not in parts
    ]


def _hint(name: str, known: Collection[str]) -> str:
    return f"nearest known: {', '.join(nearest(name, known)) or 'none'}"
