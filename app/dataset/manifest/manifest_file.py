"""The manifest: the positive and negative names of each photo, and its split.

A manifest is a CSV or Parquet table (see `app.dataset.manifest.tables`) with the columns `file`
(relative to the photo folder), `part` (the split: train, validation or test), `positive` and
`negative`. The cells of the last two hold names separated by `|`. A name in neither cell is unknown
for that photo. A table without the column `part` is not split yet; its rows are annotations.
"""

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar, get_args

from app.core.files import nearest_names
from app.dataset.manifest.tables import TableRow, join_cell, read_table, write_table
from app.errors import DataError

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
ANNOTATION_COLUMNS = ("file", "positive", "negative")
COLUMNS = ("file", "part", "positive", "negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """The names that are known to be present or absent in one photo.

    Attributes:
        file: the photo, relative to the photo folder.
        positive: names that are present.
        negative: names that are absent.
        row_number: its row in the table, counted as `TableRow.number`.
    """

    file: str
    positive: frozenset[str]
    negative: frozenset[str]
    row_number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestRow(Annotation):
    """One photo of a manifest: an annotation and its split."""

    split: Split


AnnotationT = TypeVar("AnnotationT", bound=Annotation)


def read_manifest(
    path: Path, photos: Path, names: Collection[str], *, split: Split = "train"
) -> list[ManifestRow]:
    """Read and check a manifest, and merge rows that repeat a photo.

    Args:
        path: the CSV or Parquet file.
        photos: the folder that the column `file` is relative to.
        names: every name that a cell may hold.
        split: a split that must not be empty.

    Returns:
        One row per photo, in the file's order.

    Raises:
        DataError: a column or photo is missing, a name is unknown or both positive and negative,
            a split is invalid, rows of one photo disagree, or the required split has no photo.
            The message names file, row and column.
    """
    rows = _merge_duplicates(
        path, (_parse_row(row, photos, names) for row in read_table(path, COLUMNS))
    )
    if not any(row.split == split for row in rows):
        raise DataError(f"{path}: column part: no photo is in the split {split}")
    return rows


def read_annotations(
    path: Path, photos: Path, names: Collection[str] | None = None
) -> list[Annotation]:
    """Read and check a table of annotations, and merge rows that repeat a photo.

    Args:
        path: the CSV or Parquet file; a column `part` is ignored.
        photos: the folder that the column `file` is relative to.
        names: every name that a cell may hold; None allows any name.

    Returns:
        One annotation per photo, in the file's order.

    Raises:
        DataError: as for `read_manifest`, except for errors of the splits.
    """
    rows = read_table(path, ANNOTATION_COLUMNS)
    return _merge_duplicates(path, (_parse_annotation(row, photos, names) for row in rows))


def in_split(annotation: Annotation, split: Split) -> ManifestRow:
    """Return the annotation as a row of a manifest."""
    return ManifestRow(
        file=annotation.file,
        positive=annotation.positive,
        negative=annotation.negative,
        row_number=annotation.row_number,
        split=split,
    )


def write_manifest(path: Path, rows: Iterable[ManifestRow]) -> None:
    """Write a manifest that `read_manifest` reads back.

    Raises:
        DataError: the file cannot be written.
    """
    write_table(
        path,
        COLUMNS,
        (
            [r.file, r.split, join_cell(sorted(r.positive)), join_cell(sorted(r.negative))]
            for r in rows
        ),
    )


def write_annotations(path: Path, annotations: Iterable[Annotation]) -> None:
    """Write annotations that `read_annotations` reads back.

    Raises:
        DataError: the file cannot be written.
    """
    write_table(
        path,
        ANNOTATION_COLUMNS,
        (
            [a.file, join_cell(sorted(a.positive)), join_cell(sorted(a.negative))]
            for a in annotations
        ),
    )


def photo_file(row: TableRow, photos: Path) -> str:
    """Return the cell `file` of a row, after checking that the photo exists.

    Raises:
        DataError: as for `check_photo_exists`.
    """
    file = row["file"]
    check_photo_exists(file, photos, row.location("file"))
    return file


def check_photo_exists(file: str, photos: Path, location: str) -> None:
    """Check that a photo is in the photo folder.

    Args:
        file: the photo, relative to the folder.
        photos: the folder.
        location: the place of the file name in the input, for the message.

    Raises:
        DataError: the name is empty or leads out of the folder, or there is no such photo.
    """
    if not file:
        raise DataError(f"{location}: is empty")
    if file.startswith("/") or os.path.normpath(file).startswith(".."):
        raise DataError(
            f"{location}: {file} is not below the photo folder; give the path relative to {photos}"
        )
    try:
        exists = (photos / file).is_file()
    except OSError:  # the name is too long for the file system
        exists = False
    if not exists:
        raise DataError(f"{location}: no photo {photos / file}")


def check_name_known(name: str, location: str, known: Collection[str]) -> None:
    """Check that a name is known; the error suggests the closest known names.

    Args:
        name: the name to check.
        location: the place of the name in the input, for the message.
        known: the known names.

    Raises:
        DataError: the name is unknown.
    """
    if name not in known:
        near = nearest_names(name, known)
        hint = f"; nearest known: {', '.join(near)}" if near else ""
        raise DataError(f"{location}: unknown name {name!r}{hint}")


def _parse_annotation(row: TableRow, photos: Path, names: Collection[str] | None) -> Annotation:
    file = photo_file(row, photos)
    found = {column: row.values(column) for column in ("positive", "negative")}
    if names is not None:
        for column, values in found.items():
            for name in sorted(values):
                check_name_known(name, row.location(column), names)
    if both := sorted(found["positive"] & found["negative"]):
        location = row.location("positive", "negative")
        raise DataError(f"{location}: both hold {', '.join(both)}")
    return Annotation(file=file, **found, row_number=row.number)


def _parse_row(row: TableRow, photos: Path, names: Collection[str]) -> ManifestRow:
    split = row["part"]
    if split not in SPLITS:
        raise DataError(f"{row.location('part')}: {split!r} is not one of {', '.join(SPLITS)}")
    return in_split(_parse_annotation(row, photos, names), split)


def _merge_duplicates(path: Path, rows: Iterable[AnnotationT]) -> list[AnnotationT]:
    """Merge the rows of each photo into one that has the names of all of them."""
    by_file: dict[str, AnnotationT] = {}
    for row in rows:
        photo = os.path.normpath(row.file)  # a.jpg and ./a.jpg are the same photo
        first = by_file.setdefault(photo, row)
        if first is row:
            continue
        location = f"{path}: rows {first.row_number} and {row.row_number} are both of {row.file}"
        if (
            isinstance(first, ManifestRow)
            and isinstance(row, ManifestRow)
            and first.split != row.split
        ):
            raise DataError(f"{location}, column part: {first.split} and {row.split} disagree")
        positive, negative = first.positive | row.positive, first.negative | row.negative
        if both := sorted(positive & negative):
            raise DataError(
                f"{location}, columns positive and negative: disagree on {', '.join(both)}"
            )
        by_file[photo] = replace(first, positive=positive, negative=negative)
    return list(by_file.values())
