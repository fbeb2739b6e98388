"""The manifest: which photo carries which names, and in which part of the data it is.

A CSV file with the columns `file` (relative to the photo folder), `part` (train, validation or
test), `positive` and `negative`; the cells of the last two hold names separated by `|`. A name in
neither cell is unknown for that photo.
"""

import csv
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from app.core.labels import nearest
from app.errors import DataError

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = get_args(Part)
COLUMNS = ("file", "part", "positive", "negative")


@dataclass(frozen=True, slots=True)
class Row:
    """One photo's line: its known names, and the line's number in the file, from 1."""

    file: str
    part: Part
    positive: frozenset[str]
    negative: frozenset[str]
    line: int


def read_manifest(
    path: Path, photos: Path, names: Collection[str], *, part: Part = "train"
) -> list[Row]:
    """Read and check a manifest; rows that repeat a photo are merged.

    Args:
        path: the CSV file.
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
    rows: dict[str, Row] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            if missing := [c for c in COLUMNS if c not in (reader.fieldnames or ())]:
                raise DataError(
                    f"{path}: no column {', '.join(missing)}; needs {', '.join(COLUMNS)}"
                )
            for record in reader:
                row = _row(record, f"{path}: row {reader.line_num}", reader.line_num, names)
                if not (photos / row.file).is_file():
                    raise DataError(
                        f"{path}: row {row.line}, column file: no photo {photos / row.file}"
                    )
                rows[row.file] = _merged(path, rows[row.file], row) if row.file in rows else row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if not any(row.part == part for row in rows.values()):
        raise DataError(f"{path}: column part: no photo is in the part {part}")
    return list(rows.values())


def _row(record: dict[str, str | None], where: str, line: int, names: Collection[str]) -> Row:
    file, part = record["file"] or "", record["part"] or ""
    if not file:
        raise DataError(f"{where}, column file: is empty")
    if part not in PARTS:
        raise DataError(f"{where}, column part: {part!r} is none of {', '.join(PARTS)}")
    positive = _names(record["positive"], f"{where}, column positive", names)
    negative = _names(record["negative"], f"{where}, column negative", names)
    if both := sorted(positive & negative):
        raise DataError(f"{where}, columns positive and negative: both hold {', '.join(both)}")
    return Row(file, part, positive, negative, line)


def _names(cell: str | None, where: str, known: Collection[str]) -> frozenset[str]:
    found = frozenset(name.strip() for name in (cell or "").split("|") if name.strip())
    for name in sorted(found):
        if name not in known:
            near = nearest(name, known)
            hint = f"; nearest known: {', '.join(near)}" if near else ""
            raise DataError(f"{where}: unknown name {name!r}{hint}")
    return found


def _merged(path: Path, first: Row, again: Row) -> Row:
    where = f"{path}: rows {first.line} and {again.line} are both of {first.file}"
    if first.part != again.part:
        raise DataError(f"{where}, column part: {first.part} and {again.part} disagree")
    positive, negative = first.positive | again.positive, first.negative | again.negative
    if both := sorted(positive & negative):
        raise DataError(f"{where}, columns positive and negative: disagree on {', '.join(both)}")
    return Row(first.file, first.part, positive, negative, first.line)
