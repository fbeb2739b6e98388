"""The manifest: which photo carries which names, and in which part of the data it is.

A table, CSV or Parquet (see `app.dataset.manifest.tables`), with the columns `file` (relative to
the photo folder), `part` (train, validation or test), `positive` and `negative`; the cells of the
last two hold names separated by `|`. A name in neither cell is unknown for that photo. Before it is
split the table has no `part`: its rows are annotations.
"""

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar, get_args

from app.core.files import nearest
from app.dataset.manifest.tables import Record, joined, read_table, write_table
from app.errors import DataError

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = get_args(Part)
ANNOTATION_COLUMNS = ("file", "positive", "negative")
COLUMNS = ("file", "part", "positive", "negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """What is known of one photo.

    Attributes:
        file: the photo, relative to the photo folder.
        positive: names that are present.
        negative: names that are absent.
        line: where it stands in its table, as `Record.row` counts.
    """

    file: str
    positive: frozenset[str]
    negative: frozenset[str]
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(Annotation):
    """One photo of a manifest: an annotation and the part that it is in."""

    part: Part


AnnotationT = TypeVar("AnnotationT", bound=Annotation)


def read_manifest(
    path: Path, photos: Path, names: Collection[str], *, part: Part = "train"
) -> list[Row]:
    """Read and check a manifest; rows that repeat a photo are merged.

    Args:
        path: the CSV or Parquet file.
        photos: the folder that its `file` column is relative to.
        names: every name that may stand in a cell.
        part: the part that the caller cannot do without.

    Returns:
        One row a photo, in the file's order.

    Raises:
        DataError: naming file, row and column: a column or photo is missing, a name is unknown or
            both positive and negative, a part is none of the three, rows of one photo disagree, or
            no photo is in the part that is needed.
    """
    rows = _merged(path, (_row(record, photos, names) for record in read_table(path, COLUMNS)))
    if not any(row.part == part for row in rows):
        raise DataError(f"{path}: column part: no photo is in the part {part}")
    return rows


def read_annotations(
    path: Path, photos: Path, names: Collection[str] | None = None
) -> list[Annotation]:
    """Read and check a manifest that may not be split yet; rows that repeat a photo are merged.

    Args:
        path: the CSV or Parquet file; a column `part` is not looked at.
        photos: the folder that its `file` column is relative to.
        names: every name that may stand in a cell; None: any may.

    Returns:
        One annotation a photo, in the file's order.

    Raises:
        DataError: as `read_manifest`, but for the parts.
    """
    records = read_table(path, ANNOTATION_COLUMNS)
    return _merged(path, (_annotation(record, photos, names) for record in records))


def in_part(annotation: Annotation, part: Part) -> Row:
    """The annotation as a manifest's row."""
    return Row(
        file=annotation.file,
        positive=annotation.positive,
        negative=annotation.negative,
        line=annotation.line,
        part=part,
    )


def write_manifest(path: Path, rows: Iterable[Row]) -> None:
    """Write a manifest that `read_manifest` reads back.

    Raises:
        DataError: the file cannot be written.
    """
    write_table(
        path,
        COLUMNS,
        ([r.file, r.part, joined(sorted(r.positive)), joined(sorted(r.negative))] for r in rows),
    )


def write_annotations(path: Path, annotations: Iterable[Annotation]) -> None:
    """Write annotations that `read_annotations` reads back.

    Raises:
        DataError: the file cannot be written.
    """
    write_table(
        path,
        ANNOTATION_COLUMNS,
        ([a.file, joined(sorted(a.positive)), joined(sorted(a.negative))] for a in annotations),
    )


def photo_of(record: Record, photos: Path) -> str:
    """The photo that a row's cell `file` names.

    Raises:
        DataError: as `refuse_missing`.
    """
    file = record["file"]
    refuse_missing(file, photos, record.where("file"))
    return file


def refuse_missing(file: str, photos: Path, where: str) -> None:
    """Refuse a photo that is not in the photo folder.

    Raises:
        DataError: the name is empty, leads out of the folder, or no photo is there.
    """
    if not file:
        raise DataError(f"{where}: is empty")
    if file.startswith("/") or os.path.normpath(file).startswith(".."):
        raise DataError(
            f"{where}: {file} is not below the photo folder; write the path from {photos} on"
        )
    try:
        there = (photos / file).is_file()
    except OSError:  # a name that cannot be one, as it is too long
        there = False
    if not there:
        raise DataError(f"{where}: no photo {photos / file}")


def refuse_unknown(word: str, where: str, known: Collection[str]) -> None:
    """Refuse a name that is not known, with the nearest known ones.

    Raises:
        DataError: the name is not among the known ones.
    """
    if word not in known:
        near = nearest(word, known)
        hint = f"; nearest known: {', '.join(near)}" if near else ""
        raise DataError(f"{where}: unknown name {word!r}{hint}")


def _annotation(record: Record, photos: Path, names: Collection[str] | None) -> Annotation:
    file = photo_of(record, photos)
    known = {column: record.words(column) for column in ("positive", "negative")}
    for column, words in known.items():
        for word in sorted(words):
            if names is not None:
                refuse_unknown(word, record.where(column), names)
    if both := sorted(known["positive"] & known["negative"]):
        where = record.where("positive", "negative")
        raise DataError(f"{where}: both hold {', '.join(both)}")
    return Annotation(file=file, **known, line=record.row)


def _row(record: Record, photos: Path, names: Collection[str]) -> Row:
    part = record["part"]
    if part not in PARTS:
        raise DataError(f"{record.where('part')}: {part!r} is none of {', '.join(PARTS)}")
    return in_part(_annotation(record, photos, names), part)


def _merged(path: Path, rows: Iterable[AnnotationT]) -> list[AnnotationT]:
    """One row a photo; of rows that say different things of one photo both are known."""
    by_file: dict[str, AnnotationT] = {}
    for row in rows:
        photo = os.path.normpath(row.file)  # a.jpg and ./a.jpg are one
        first = by_file.setdefault(photo, row)
        if first is row:
            continue
        where = f"{path}: rows {first.line} and {row.line} are both of {row.file}"
        if isinstance(first, Row) and isinstance(row, Row) and first.part != row.part:
            raise DataError(f"{where}, column part: {first.part} and {row.part} disagree")
        positive, negative = first.positive | row.positive, first.negative | row.negative
        if both := sorted(positive & negative):
            raise DataError(
                f"{where}, columns positive and negative: disagree on {', '.join(both)}"
            )
        by_file[photo] = replace(first, positive=positive, negative=negative)
    return list(by_file.values())
