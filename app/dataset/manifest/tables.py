"""Reads and writes tables of text as CSV or Parquet: manifests, votes and lists of photos.

The suffix gives the format. Text tables (`.csv`, `.tsv`, `.txt`) may come from Excel, pandas or R:
cells are separated by commas, semicolons or tabs; columns without a name and empty rows are
ignored. A Parquet cell may also be a number or a list of texts.
"""

import ast
import codecs
import csv
import io
import json
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from app.errors import DataError

if TYPE_CHECKING:
    from _csv import Reader  # the type of csv.reader

SEPARATOR = "|"
SPLIT_ADVICE = "Make the manifest with: mumic data split"
DELIMITERS = (",", ";", "\t")
TEXT_SUFFIXES = (".csv", ".tsv", ".txt")
# The first bytes of files that are often passed as a table.
SIGNATURES = {
    b"PK\x03\x04": "is an Excel workbook or another ZIP file; save the sheet as CSV UTF-8",
    b"\xd0\xcf\x11\xe0": "is an Excel workbook; save the sheet as CSV UTF-8",
    b"\x1f\x8b": "is compressed by gzip; decompress it",
    b"PAR1": "is a Parquet file; rename it to end in .parquet",
}
WORKBOOK_SUFFIXES = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")
# How pandas and R write a missing value.
MISSING_VALUES = frozenset(
    ("NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "None", "NULL", "null")
)
QUOTED = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
LIST = re.compile(rf"[\[({{]\s*(?:{QUOTED}\s*(?:,\s*{QUOTED}\s*)*,?\s*)?[\])}}]", re.DOTALL)
# The header of an index that pandas or R wrote along.
INDEX_NAME = re.compile(r"|Unnamed: \d+(\.\d+)*|__index_level_\d+__")
SURROGATES = re.compile("[\udc80-\udcff]")  # bytes that are not UTF-8, after decoding


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row of a table.

    Attributes:
        path: the table's file.
        number: in a text table the line number, from 1; in Parquet the row number, from 1.
        cells: column to text; an empty text where there is no value.
        lists: column to texts, for cells of Parquet that are lists.
    """

    path: Path
    number: int
    cells: Mapping[str, str]
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __getitem__(self, column: str) -> str:
        return self.cells[column]

    def location(self, *columns: str) -> str:
        """Return file, row and columns, for an error message."""
        named = f", column{'s' * (len(columns) > 1)} {' and '.join(columns)}" if columns else ""
        return f"{self.path}: row {self.number}{named}"

    def values(self, column: str, separator: str = SEPARATOR) -> frozenset[str]:
        """Return the values in a cell: a list, or texts between separators.

        A list may be written as Python or JSON writes it, such as `['pool', 'beach']`. A missing
        value (`MISSING_VALUES`) is empty. Values are in Unicode normal form C, so that equal ones
        from different systems are equal.

        Args:
            column: the column.
            separator: separates the values of a cell that is no list.

        Raises:
            DataError: the cell is in brackets but not a list of quoted texts.
        """
        if column in self.lists:
            texts: Iterable[str] = self.lists[column]
        else:
            texts = self._split(column, separator)
        return frozenset(filter(None, map(normal_name, texts)))

    def _split(self, column: str, separator: str) -> Iterable[str]:
        cell = self[column].strip()
        if LIST.fullmatch(cell) and (texts := _parse_list(cell)) is not None:
            return texts
        if cell.startswith("[") and cell.endswith("]"):
            raise DataError(
                f"{self.location(column)}: {cell} is not a list of quoted texts; write "
                f"['a', 'b'] or a{separator}b"
            )
        return () if cell in MISSING_VALUES else cell.split(separator)


def normal_name(name: str) -> str:
    """Return a name in Unicode normal form C, without white space around it."""
    return unicodedata.normalize("NFC", name.strip())


def join_cell(values: Iterable[str]) -> str:
    """Return a cell that holds several values, in their order."""
    return SEPARATOR.join(values)


def read_table(
    path: Path,
    columns: Sequence[str],
    *,
    optional: Sequence[str] = (),
    options: Mapping[str, str] | None = None,
    unique: bool = False,
) -> Iterator[TableRow]:
    """Read a table row by row.

    The names of columns are read in Unicode normal form C without outer white space, and compared
    without case if none is equal.

    Args:
        path: a text table in UTF-8 or UTF-16 with a header, or a `.parquet` file.
        columns: required columns; other columns are read as well.
        optional: columns that are empty in each row if the table lacks them.
        options: column to the command-line option that names it, for the error message.
        unique: whether other columns must be unique too.

    Yields:
        The rows that have a cell with text.

    Raises:
        DataError: the file cannot be read, lacks a column or has an unclosed quote, a row has
            more cells than the header, or a required or optional column holds a line break or
            bytes that are not UTF-8. The message names file, row and column.
    """
    suffix = path.suffix.lower()
    if suffix in WORKBOOK_SUFFIXES:
        raise DataError(f"{path}: is a workbook; save the sheet as CSV UTF-8 and pass that file")
    if suffix not in (*TEXT_SUFFIXES, ".parquet"):
        raise DataError(f"{path}: must end in {', '.join(TEXT_SUFFIXES)} or .parquet")
    wanted = _Columns(path, columns, optional, options or {}, unique)
    read = _read_parquet if suffix == ".parquet" else _read_text
    return read(path, wanted)


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table; an existing file is replaced.

    Args:
        path: ends in `.parquet` or `.csv`.
        columns: the names of the columns.
        rows: one text per column.

    Raises:
        DataError: the file cannot be written.
    """
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise DataError(f"{path}: must end in .csv or .parquet")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() == ".parquet":
            _write_parquet(path, columns, rows)
            return
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(rows)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error}") from error


@dataclass(frozen=True, slots=True)
class _Columns:
    """The columns that a caller reads, and how a header names them."""

    path: Path
    required: Sequence[str]
    optional: Sequence[str]
    options: Mapping[str, str]
    unique: bool

    @property
    def all(self) -> Sequence[str]:
        return (*self.required, *self.optional)

    def positions(self, header: Sequence[str]) -> dict[str, int]:
        """Return column to position in a header, without columns that it lacks.

        Raises:
            DataError: a column occurs twice.
        """
        found = {}
        folded = [name.casefold() for name in header]
        for column in self.all:
            wanted = normal_name(column)
            exact = [i for i, name in enumerate(header) if name == wanted]
            same = exact or [i for i, name in enumerate(folded) if name == wanted.casefold()]
            if len(same) > 1:
                raise DataError(
                    f"{self.path}: column {column} occurs twice: "
                    f"{', '.join(header[i] for i in same)}"
                )
            if same:
                found[column] = same[0]
        return found

    def missing(self, header: Sequence[str]) -> list[str]:
        """Return the required columns that a header lacks."""
        return [column for column in self.required if column not in self.positions(header)]

    def require(self, header: Sequence[str], rows: Sequence[Sequence[str]] = ()) -> dict[str, int]:
        """Return column to position in a header.

        Args:
            header: the names of the table's columns.
            rows: the cells of some rows, to recognise a one-hot table.

        Raises:
            DataError: a column is missing or occurs twice.
        """
        named = [name for name in header if name]
        if self.unique and len(set(named)) < len(named):
            twice = next(name for name in named if named.count(name) > 1)
            raise DataError(f"{self.path}: column {twice} occurs twice; keep one of them")
        if missing := self.missing(header):
            hint = "".join(
                f"; {self.options[column]} names the column {column}"
                for column in missing
                if column in self.options
            )
            if "--part-column" in map(self.options.get, missing):
                hint += f". Has the table no splits yet? {SPLIT_ADVICE}"
            raise DataError(
                f"{self.path}: no column {', '.join(missing)}; needs {', '.join(self.required)}, "
                f"has {_shown(', '.join(named)) or 'none'} (the first row is the header){hint}"
                f"{self._one_hot_hint(missing, header, rows)}"
            )
        return self.positions(header)

    def _one_hot_hint(
        self, missing: Sequence[str], header: Sequence[str], rows: Sequence[Sequence[str]]
    ) -> str:
        if not rows or "--positive-column" not in map(self.options.get, missing):
            return ""
        flags = [
            name
            for i, name in enumerate(header)
            if name and all(i < len(row) and row[i].strip() in ("0", "1") for row in rows)
        ]
        if not flags:
            return ""
        return f"; only 0 and 1 in {', '.join(flags[:3])}: mumic data split --one-hot reads them"


def _read_text(path: Path, columns: _Columns) -> Iterator[TableRow]:
    text, skipped, delimiters = _without_separator_line(_read_file(path))
    rows = list(_records(path, text, skipped, _choose_delimiter(text, columns, delimiters)))
    header = [normal_name(name) for name in rows.pop(0)[1]] if rows else []
    first = next((i for i, name in enumerate(header) if not INDEX_NAME.fullmatch(name)), 0)
    position = columns.require(header, [cells for _, cells in rows])
    has_row_names = _has_row_names(header, [cells for _, cells in rows])
    for number, record in rows:
        cells = record[1:] if has_row_names else record
        whole = cells + [""] * (len(header) - len(cells))
        named = {name: whole[i] for i, name in enumerate(header) if name and i >= first}
        named |= {column: whole[i] for column, i in position.items()}
        row = TableRow(path, number, dict.fromkeys(columns.all, "") | named)
        _check_surplus(row, header, cells, first)
        if not any(map(str.strip, named.values())):
            continue  # only the index column has a cell
        _check_cells(row, columns.all)
        yield row


def _read_file(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    for signature, advice in SIGNATURES.items():
        if content.startswith(signature):
            raise DataError(f"{path}: {advice}")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            text = content.decode("utf-16")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path}: begins as UTF-16 but is not: {error}; save the table as CSV UTF-8"
            ) from error
    else:
        # Bytes that are not UTF-8 are reported later, with the row and column that they are in.
        text = content.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")
    if "\0" in text:
        raise DataError(
            f"{path}: has NUL characters, so it is neither UTF-8 nor UTF-16 with a byte order "
            "mark; save the table as CSV UTF-8"
        )
    return text


def _without_separator_line(text: str) -> tuple[str, int, Sequence[str]]:
    """Remove the line `sep=;` that Excel reads; return text, removed lines and delimiters."""
    match = re.match(r"\"?sep=(.)\"?(?:\r\n|\r|\n)", text, re.IGNORECASE)
    if match is None:
        return text, 0, DELIMITERS
    return text[match.end() :], 1, (match[1],)


def _choose_delimiter(text: str, columns: _Columns, delimiters: Sequence[str]) -> str:
    """Return the first delimiter by which the header has the required columns.

    If there is none, the one that makes the most columns is returned.
    """
    headers = {}
    for delimiter in delimiters:
        records = _csv_reader(text, delimiter)
        try:
            record = next((each for each in records if any(map(str.strip, each))), [])
        except csv.Error:  # reported when the rows are read
            record = []
        headers[delimiter] = [normal_name(name) for name in record]
        if headers[delimiter] and not columns.missing(headers[delimiter]):
            return delimiter
    return max(headers, key=lambda delimiter: len(headers[delimiter]))


def _csv_reader(text: str, delimiter: str) -> "Reader":
    return csv.reader(
        io.StringIO(text, newline=None),
        delimiter=delimiter,
        # A space before a quote, as in `a, "b"`, is no text; another one may begin a file's name.
        skipinitialspace=re.search(re.escape(delimiter) + ' +"', text) is not None,
        strict=True,
    )


def _records(
    path: Path, text: str, skipped: int, delimiter: str
) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and the cells of each record that has text."""
    reader = _csv_reader(text, delimiter)
    last = 0
    try:
        for cells in reader:
            if any(map(str.strip, cells)):
                yield last + 1 + skipped, cells
            last = reader.line_num
    except csv.Error as error:
        raise DataError(
            f"{path}: row {last + 1 + skipped}: cannot be read: {error}; is a quote opened and not "
            "closed?"
        ) from error


def _has_row_names(header: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Return whether each row begins with a row number without a header, as R writes it."""
    return bool(rows) and all(
        len(cells) == len(header) + 1 and cells[0] == str(number)
        for number, cells in enumerate(rows, start=1)
    )


def _check_surplus(
    row: TableRow, header: Sequence[str], cells: Sequence[str], first_named: int
) -> None:
    """Check that no cell with text is in a column without a name.

    Columns without a name before the first one with a name are an index and may have text.
    """
    for i, cell in enumerate(cells):
        if not cell.strip() or i < first_named or (i < len(header) and header[i]):
            continue
        if i < len(header):
            problem = f"cell {i + 1}, {_shown(repr(cell))}, is in a column without a name"
        else:
            problem = f"has {len(cells)} cells, more than the {len(header)} columns of the header"
        raise DataError(
            f"{row.location()}: {problem}; put quotes around text that holds the delimiter, or "
            "name the column"
        )


def _check_cells(row: TableRow, columns: Sequence[str]) -> None:
    for column in columns:
        cell = row[column]
        if SURROGATES.search(cell):
            content = cell.encode("utf-8", "surrogateescape")
            raise DataError(
                f"{row.location(column)}: {_shown(cell)} is not UTF-8; in Windows-1252 it reads "
                f"{content.decode('cp1252', 'replace')!r}. Save the table as CSV UTF-8, or convert "
                f"it: iconv -f WINDOWS-1252 -t UTF-8"
            )
        if "\n" in cell.strip():
            raise DataError(
                f"{row.location(column)}: holds a line break; is a quote opened and not closed? "
                "Several labels in a cell need a separator, not lines"
            )


def _read_parquet(path: Path, columns: _Columns) -> Iterator[TableRow]:
    # pyarrow is an optional dependency: only Parquet files need it.
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    table = table.drop_columns([name for name in table.column_names if INDEX_NAME.fullmatch(name)])
    names = [normal_name(name) for name in table.column_names]
    position = columns.require(names)
    rows = (cells for batch in table.to_batches() for cells in batch.to_pylist())
    for number, cells in enumerate(rows, start=1):
        values = dict(zip(names, cells.values(), strict=True))
        values |= {
            column: values[names[position[column]]] if column in position else None
            for column in columns.all
        }
        lists = {
            column: tuple(map(_text, value))
            for column, value in values.items()
            if isinstance(value, list)
        }
        row = TableRow(path, number, {name: _text(each) for name, each in values.items()}, lists)
        if any(row[column].strip() for column in columns.all):
            yield row


def _write_parquet(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    import pyarrow
    import pyarrow.parquet

    schema = pyarrow.schema([(column, pyarrow.string()) for column in columns])
    table = pyarrow.Table.from_pylist(
        [dict(zip(columns, row, strict=True)) for row in rows], schema=schema
    )
    pyarrow.parquet.write_table(table, path)


def _parse_list(cell: str) -> list[str] | None:
    """Return the texts of a list, tuple or set in JSON or Python; None for an invalid escape."""
    with suppress(ValueError):
        return list(json.loads(cell))
    with suppress(ValueError, SyntaxError):
        return list(ast.literal_eval(f"[{cell[1:-1].strip().rstrip(',')}]"))
    return None


def _text(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, list):
        return join_cell(map(_text, value))
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # a column with missing values stores whole numbers as floats
    return str(value)


def _shown(text: str) -> str:
    """Return a text for a message; bytes that are not UTF-8 are shown as escapes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
