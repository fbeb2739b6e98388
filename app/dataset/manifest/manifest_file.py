"""The manifest: the positive and negative names of each photo, and its split.

A manifest is a CSV or Parquet table (see `app.dataset.manifest.tables`) with the columns `file`
(relative to the photo folder), `part` (the split: train, validation, test or calibration),
`positive` and, optionally, `negative`. The cells of the last two hold names separated by `|`. A
name in neither cell is unknown for that photo. A table without the column `part` is not split yet;
its rows are annotations. `TableColumns` gives the columns other names.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal, TypeVar, get_args

from app.core.files import nearest_names
from app.dataset.manifest.photo_folder import PhotoFolder
from app.dataset.manifest.tables import (
    MISSING_VALUES,
    SEPARATOR,
    SURROGATES,
    TableRow,
    join_cell,
    normal_name,
    read_table,
    write_table,
)
from app.errors import DataError

Split = Literal["train", "validation", "test", "calibration"]
SPLITS: tuple[Split, ...] = get_args(Split)
OPTIONAL_SPLIT: Split = "calibration"  # photos that only calibration or thresholds are fitted to
OPTIONAL_SPLIT_ADVICE = (
    "make it with mumic data split --shares 70/10/10/10, or fit to other photos with --part "
    "validation"
)
# For a table without negatives.
UNLISTED_ADVICE = (
    "If the table lists every label that a photo has, so that an unlisted one is absent, make the "
    "manifest with: mumic data split --unlisted negative"
)
UNKNOWN_NAME_ADVICE = "; names are ids of the label set, unless --names FILE defines them"
MAX_UNKNOWN_NAMED = 10  # names in a message
OWN_LABELS_ADVICE = (
    ". To use other labels, make a checkpoint that has them: "
    "mumic import CHECKPOINT --labels labels.yaml --out DIR"
)
ANNOTATION_COLUMNS = ("file", "positive", "negative")
COLUMNS = ("file", "part", "positive", "negative")
OTHER_SEPARATORS = re.compile(r"[,;/+&]|\s+")
ONE_HOT_VALUES = {
    **dict.fromkeys(("1", "1.0", "true", "yes"), True),
    **dict.fromkeys(("0", "0.0", "false", "no"), False),
    **dict.fromkeys(("", "-1", "-1.0", *(value.lower() for value in MISSING_VALUES))),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TableColumns:
    """The names of a table's columns, and the separator in its cells.

    Attributes:
        file: the column of the photo.
        part: the column of the split.
        positive: the column of the names that are present.
        negative: the column of the names that are absent.
        separator: separates the names in a cell; None: `|`, and a cell of
            `read_annotations` that seems to have another separator is refused.
    """

    file: str = "file"
    part: str = "part"
    positive: str = "positive"
    negative: str = "negative"
    separator: str | None = None

    @property
    def options(self) -> dict[str, str]:
        """Column to the command-line option that names it."""
        return {
            self.file: "--file-column",
            self.part: "--part-column",
            self.positive: "--positive-column",
            self.negative: "--negative-column",
        }


DEFAULT_COLUMNS = TableColumns()


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
    path: Path,
    photos: Path,
    names: Collection[str],
    *,
    split: Split = "train",
    columns: TableColumns = DEFAULT_COLUMNS,
) -> list[ManifestRow]:
    """Read and check a manifest, and merge rows that repeat a photo.

    Args:
        path: the table.
        photos: the folder that the column of the file is relative to.
        names: every name that a cell may hold.
        split: a split that must not be empty.
        columns: the names of the columns.

    Returns:
        One row per photo, in the file's order.

    Raises:
        DataError: a column or photo is missing, a name is unknown or both positive and negative,
            a split is invalid, rows of one photo disagree, or the required split has no photo.
            The message names file, row and column.
    """
    folder = PhotoFolder(photos)
    table = _read_columns(path, (columns.file, columns.part, columns.positive), columns)
    found = [_parse_row(row, folder, names, columns) for row in table]
    _check_names(path, found, names, columns, OWN_LABELS_ADVICE)
    rows = _merge_duplicates(path, found, columns)
    if not any(row.split == split for row in rows):
        hint = f"; {OPTIONAL_SPLIT_ADVICE}" if split == OPTIONAL_SPLIT else ""
        raise DataError(f"{path}: column {columns.part}: no photo is in the split {split}{hint}")
    return rows


def read_annotations(
    path: Path,
    photos: Path,
    names: Collection[str] | None = None,
    *,
    columns: TableColumns = DEFAULT_COLUMNS,
) -> list[Annotation]:
    """Read and check a table of annotations, and merge rows that repeat a photo.

    Args:
        path: the table; a column of the split is ignored.
        photos: the folder that the column of the file is relative to.
        names: every name that a cell may hold; None allows any name.
        columns: the names of the columns.

    Returns:
        One annotation per photo, in the file's order.

    Raises:
        DataError: as for `read_manifest`, except for errors of the splits.
    """
    folder = PhotoFolder(photos)
    table = _read_columns(path, (columns.file, columns.positive), columns)
    found = [_parse_annotation(row, folder, names, columns) for row in table]
    if names is not None:
        _check_names(path, found, names, columns)
    return _merge_duplicates(path, found, columns)


def read_one_hot_annotations(
    path: Path,
    photos: Path,
    names: Collection[str] | None = None,
    *,
    columns: TableColumns = DEFAULT_COLUMNS,
) -> list[Annotation]:
    """Read a table with a column per name, and merge rows that repeat a photo.

    Args:
        path: the table; each column except those of the file and the split is a name. Its cells
            are 1 (present), 0 (absent), or empty or -1 (unknown).
        photos: the folder that the column of the file is relative to.
        names: every name that a column may have; None allows any name.
        columns: the names of the columns of the file and the split.

    Returns:
        One annotation per photo, in the file's order.

    Raises:
        DataError: a photo is missing, a cell has another value, a name is unknown, or rows of one
            photo disagree.
    """
    folder = PhotoFolder(photos)
    rows = read_table(
        path, (columns.file,), optional=(columns.part,), options=columns.options, unique=True
    )
    found = [_parse_one_hot(row, folder, columns) for row in rows]
    if names is not None:
        used = dict.fromkeys(name for each in found for name in each.positive | each.negative)
        _refuse_unknown(path, {name: f"column {name}" for name in used if name not in names}, names)
    return _merge_duplicates(path, found, columns)


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
        hint = _unknown_name_hint(name, known) or UNKNOWN_NAME_ADVICE
        raise DataError(f"{location}: unknown name {name!r}{hint}")


def _unknown_name_hint(name: str, known: Collection[str]) -> str:
    """Return what an unknown name may mean; empty if it is like no known name."""
    parts = [part for part in OTHER_SEPARATORS.split(name) if part]
    if len(parts) > 1 and all(part in known for part in parts):
        used = OTHER_SEPARATORS.findall(name)[0]
        return f"; are these {len(parts)} names? --separator {used!r} separates them"
    near = nearest_names(name, known)
    return f"; nearest known: {', '.join(near)}" if near else ""


def _check_names(
    path: Path,
    rows: Iterable[Annotation],
    known: Collection[str],
    columns: TableColumns,
    advice: str = "",
) -> None:
    """Check that all names of a table are known; the message has the first row of each.

    Raises:
        DataError: names are unknown.
    """
    unknown: dict[str, str] = {}
    for row in rows:
        for column, names in ((columns.positive, row.positive), (columns.negative, row.negative)):
            for name in sorted(names - unknown.keys()):
                if name not in known:
                    unknown[name] = f"row {row.row_number}, column {column}"
    _refuse_unknown(path, unknown, known, advice)


def _refuse_unknown(
    path: Path, unknown: Mapping[str, str], known: Collection[str], advice: str = ""
) -> None:
    """Raise an error of all unknown names, by their locations, if there are any."""
    if not unknown:
        return
    hints = {name: _unknown_name_hint(name, known) for name in islice(unknown, MAX_UNKNOWN_NAMED)}
    shown = "; ".join(
        f"{unknown[name]}: unknown name {name!r}{hint}" for name, hint in hints.items()
    )
    count = f"{len(unknown)} unknown names: " if len(unknown) > 1 else ""
    more = f"; and {len(unknown) - len(hints)} more" if len(unknown) > len(hints) else ""
    on_names = "" if all(hints.values()) else UNKNOWN_NAME_ADVICE
    raise DataError(f"{path}: {count}{shown}{more}{on_names}{advice}")


def _read_columns(path: Path, required: Sequence[str], columns: TableColumns) -> Iterator[TableRow]:
    """Read a table that may lack the negative column, unless a name was given for that."""
    negative, options = (columns.negative,), columns.options
    if columns.negative == DEFAULT_COLUMNS.negative:
        return read_table(path, required, optional=negative, options=options)
    return read_table(path, (*required, *negative), options=options)


def _parse_annotation(
    row: TableRow, folder: PhotoFolder, names: Collection[str] | None, columns: TableColumns
) -> Annotation:
    file = folder.find(row[columns.file], row.location(columns.file))
    found = {
        column: _names_in(row, column, names, columns.separator)
        for column in (columns.positive, columns.negative)
    }
    positive, negative = found[columns.positive], found[columns.negative]
    if both := sorted(positive & negative):
        location = row.location(columns.positive, columns.negative)
        raise DataError(f"{location}: both hold {', '.join(both)}")
    return Annotation(file=file, positive=positive, negative=negative, row_number=row.number)


def _names_in(
    row: TableRow, column: str, names: Collection[str] | None, separator: str | None
) -> frozenset[str]:
    """Return the names in a cell."""
    if names is not None and (name := normal_name(row[column])) in names:
        return frozenset([name])  # also a name such as NA or ['x']
    found = row.values(column, separator or SEPARATOR)
    for name in sorted(found):
        if names is None and separator is None and (used := re.search("[,;]", name)):
            raise DataError(
                f"{row.location(column)}: {name!r} holds {used[0]!r}; if that separates labels, "
                f"give --separator {used[0]!r}, else --separator '|'"
            )
    return found


def _parse_one_hot(row: TableRow, folder: PhotoFolder, columns: TableColumns) -> Annotation:
    file = folder.find(row[columns.file], row.location(columns.file))
    present: dict[str, bool | None] = {}
    for name, cell in row.cells.items():
        if name.casefold() in (columns.file.casefold(), columns.part.casefold()):
            continue
        if SURROGATES.search(name):
            raise DataError(f"{row.path}: the header is not UTF-8; save the table as CSV UTF-8")
        if cell.strip().lower() not in ONE_HOT_VALUES:
            raise DataError(
                f"{row.location(name)}: {cell!r} is not 1 (present), 0 (absent) or empty "
                "(unknown); remove columns that are not labels"
            )
        present[name] = ONE_HOT_VALUES[cell.strip().lower()]
    return Annotation(
        file=file,
        positive=frozenset(name for name, value in present.items() if value is True),
        negative=frozenset(name for name, value in present.items() if value is False),
        row_number=row.number,
    )


def _parse_row(
    row: TableRow, folder: PhotoFolder, names: Collection[str], columns: TableColumns
) -> ManifestRow:
    split = row[columns.part].strip().lower()
    if split not in SPLITS:
        raise DataError(
            f"{row.location(columns.part)}: {row[columns.part]!r} is not one of {', '.join(SPLITS)}"
        )
    return in_split(_parse_annotation(row, folder, names, columns), split)


def _merge_duplicates(
    path: Path, rows: Iterable[AnnotationT], columns: TableColumns
) -> list[AnnotationT]:
    """Merge the rows of each photo into one that has the names of all of them.

    Raises:
        DataError: rows of one photo disagree, or there are no rows.
    """
    by_file: dict[str, AnnotationT] = {}
    for row in rows:
        first = by_file.setdefault(row.file, row)
        if first is row:
            continue
        location = f"{path}: rows {first.row_number} and {row.row_number} are both of {row.file}"
        if (
            isinstance(first, ManifestRow)
            and isinstance(row, ManifestRow)
            and first.split != row.split
        ):
            raise DataError(
                f"{location}, column {columns.part}: {first.split} and {row.split} disagree"
            )
        positive, negative = first.positive | row.positive, first.negative | row.negative
        if both := sorted(positive & negative):
            raise DataError(
                f"{location}, columns {columns.positive} and {columns.negative}: disagree on "
                f"{', '.join(both)}"
            )
        by_file[row.file] = replace(first, positive=positive, negative=negative)
    if not by_file:
        raise DataError(f"{path}: has a header but no rows; a row is a photo and its labels")
    return list(by_file.values())
