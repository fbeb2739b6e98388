"""Reads and writes tables of text as CSV or Parquet: manifests, votes and lists of photos.

The suffix `.csv` or `.parquet` gives the format. A Parquet cell may also be a number, or a list of
texts, which is read as the texts joined by `|`.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.errors import DataError

SEPARATOR = "|"


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row of a table.

    Attributes:
        path: the table's file.
        number: in CSV the line number, where the header is line 1; in Parquet the row number,
            from 1.
        cells: column to text; an empty text where there is no value.
    """

    path: Path
    number: int
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells[column]

    def location(self, *columns: str) -> str:
        """Return file, row and columns, for an error message."""
        named = f", column{'s' * (len(columns) > 1)} {' and '.join(columns)}" if columns else ""
        return f"{self.path}: row {self.number}{named}"

    def values(self, column: str) -> frozenset[str]:
        """Return the values in a cell that separates them by `|`."""
        return frozenset(filter(None, map(str.strip, self[column].split(SEPARATOR))))


def join_cell(values: Iterable[str]) -> str:
    """Return a cell that holds several values, in their order."""
    return SEPARATOR.join(values)


def read_table(path: Path, columns: Sequence[str]) -> Iterator[TableRow]:
    """Read a table row by row.

    Args:
        path: a `.csv` file in UTF-8 with a header, or a `.parquet` file.
        columns: required columns; other columns are read as well.

    Raises:
        DataError: the file cannot be read, lacks a column or has an unclosed quote, a row has
            more cells than columns, or a required column holds a line break, which is a sign of a
            stray quote that has absorbed rows.
    """
    read = _read_parquet if _is_parquet(path) else _read_csv
    return read(path, columns)


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table; an existing file is replaced.

    Args:
        path: ends in `.parquet` or `.csv`.
        columns: the names of the columns.
        rows: one text per column.

    Raises:
        DataError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if _is_parquet(path):
            _write_parquet(path, columns, rows)
            return
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(rows)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error}") from error


def _is_parquet(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise DataError(f"{path}: must end in .csv or .parquet")
    return suffix == ".parquet"


def _read_csv(path: Path, columns: Sequence[str]) -> Iterator[TableRow]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, restkey="", restval="", strict=True)
            _require(path, columns, reader.fieldnames or ())
            for cells in _cells(path, reader):
                breaks = sum(str(cell).count("\n") for cell in cells.values())
                row = TableRow(path, reader.line_num - breaks, cells)
                if "" in cells:
                    raise DataError(
                        f"{row.location()}: has more cells than the table has columns; put quotes "
                        "around text that holds a comma"
                    )
                if broken := [column for column in columns if "\n" in cells[column]]:
                    raise DataError(
                        f"{row.location(*broken)}: holds a line break; is a quote opened and not "
                        "closed?"
                    )
                yield row
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def _cells(path: Path, reader: "csv.DictReader[str]") -> Iterator[dict[str, str]]:
    last = reader.line_num
    try:
        for cells in reader:
            yield cells
            last = reader.line_num
    except csv.Error as error:
        raise DataError(
            f"{path}: row {last + 1}: cannot be read: {error}; is a quote opened and not closed?"
        ) from error


def _read_parquet(path: Path, columns: Sequence[str]) -> Iterator[TableRow]:
    # pyarrow is an optional dependency: only Parquet files need it.
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    _require(path, columns, table.column_names)
    rows = (cells for batch in table.to_batches() for cells in batch.to_pylist())
    for number, cells in enumerate(rows, start=1):
        yield TableRow(path, number, {column: _text(value) for column, value in cells.items()})


def _write_parquet(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    import pyarrow
    import pyarrow.parquet

    schema = pyarrow.schema([(column, pyarrow.string()) for column in columns])
    table = pyarrow.Table.from_pylist(
        [dict(zip(columns, row, strict=True)) for row in rows], schema=schema
    )
    pyarrow.parquet.write_table(table, path)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return join_cell(map(_text, value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # a column with missing values stores whole numbers as floats
    return str(value)


def _require(path: Path, columns: Sequence[str], found: Sequence[str]) -> None:
    if twice := [column for column in columns if found.count(column) > 1]:
        raise DataError(f"{path}: column {', '.join(twice)} occurs twice")
    if missing := [column for column in columns if column not in set(found)]:
        raise DataError(
            f"{path}: no column {', '.join(missing)}; needs {', '.join(columns)}, "
            f"has {', '.join(found) or 'none'}"
        )
