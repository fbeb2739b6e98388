"""Tables of text, as CSV or Parquet: the one way in and out for manifests, votes and lists.

The file's ending says which: `.parquet` is Parquet, `.csv` CSV. In a Parquet file a cell
may be a list of texts, which reads as the texts with `|` between them, or a number.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.errors import DataError

SEPARATOR = "|"


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a table.

    Attributes:
        path: the table's file.
        row: where it stands: in CSV the line, the header's being 1; in Parquet the row, from 1.
        cells: column to text; empty where there is nothing.
    """

    path: Path
    row: int
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells[column]

    def where(self, *columns: str) -> str:
        """The place of some cells, for messages."""
        named = f", column{'s' * (len(columns) > 1)} {' and '.join(columns)}" if columns else ""
        return f"{self.path}: row {self.row}{named}"

    def words(self, column: str) -> frozenset[str]:
        """The words between the cell's `|`."""
        return frozenset(filter(None, map(str.strip, self[column].split(SEPARATOR))))


def joined(words: Iterable[str]) -> str:
    """A cell of several words, in their order."""
    return SEPARATOR.join(words)


def read_table(path: Path, columns: Sequence[str]) -> Iterator[Record]:
    """Read a table row by row.

    Args:
        path: a `.csv` file in UTF-8 with a header, or a `.parquet` file.
        columns: those that it must have; others are read as well.

    Raises:
        DataError: the file cannot be read, lacks a column, a row has more cells than there are
            columns, a quote is not closed, or one of the columns that it must have holds a line
            break: a stray quote would swallow rows.
    """
    read = _read_parquet if _is_parquet(path) else _read_csv
    return read(path, columns)


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table; a file that is there is replaced.

    Args:
        path: ends in `.parquet` or `.csv`.
        columns: their names.
        rows: a text for each column.

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
    ending = path.suffix.lower()
    if ending not in (".csv", ".parquet"):
        raise DataError(f"{path}: should end in .csv or .parquet")
    return ending == ".parquet"


def _read_csv(path: Path, columns: Sequence[str]) -> Iterator[Record]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, restkey="", restval="", strict=True)
            _require(path, columns, reader.fieldnames or ())
            for cells in _cells(path, reader):
                breaks = sum(str(cell).count("\n") for cell in cells.values())
                record = Record(path, reader.line_num - breaks, cells)
                if "" in cells:
                    raise DataError(
                        f"{record.where()}: has more cells than there are columns; put text that "
                        "holds a comma in quotes"
                    )
                if broken := [column for column in columns if "\n" in cells[column]]:
                    raise DataError(
                        f"{record.where(*broken)}: holds a line break; is a quote opened and not "
                        "closed?"
                    )
                yield record
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


def _read_parquet(path: Path, columns: Sequence[str]) -> Iterator[Record]:
    # An extra's library: who keeps to CSV does not need it.
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    _require(path, columns, table.column_names)
    row = 0
    for batch in table.to_batches():
        for cells in batch.to_pylist():
            row += 1
            yield Record(path, row, {column: _text(value) for column, value in cells.items()})


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
        return joined(map(_text, value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # whole numbers become floats where a column has gaps
    return str(value)


def _require(path: Path, columns: Sequence[str], found: Sequence[str]) -> None:
    if twice := [column for column in columns if found.count(column) > 1]:
        raise DataError(f"{path}: column {', '.join(twice)} is there twice")
    if missing := [column for column in columns if column not in set(found)]:
        raise DataError(
            f"{path}: no column {', '.join(missing)}; needs {', '.join(columns)}, "
            f"has {', '.join(found) or 'none'}"
        )
