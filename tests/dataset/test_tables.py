"""CSV and Parquet tables have equal rows, and errors have a location."""

import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.dataset.manifest import TableRow, read_manifest, read_table, write_table
from app.errors import DataError
from tests.support.command import mumic
from tests.support.training_set import ROWS, data_of, write_manifest

CELL = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=8)


@pytest.mark.parametrize("ending", ["csv", "parquet", "PARQUET"])
@given(rows=st.lists(st.tuples(CELL, CELL), min_size=1))
def test_written_table_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, ending: str, rows: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("tables") / f"table.{ending}"
    write_table(path, ("a", "b"), rows)
    filled = [row for row in rows if any(map(str.strip, row))]
    assert [(each["a"], each["b"]) for each in read_table(path, ("a", "b"))] == filled


def test_parquet_manifest_equals_csv_manifest(tmp_path: Path, photos: Path) -> None:
    expected = data_of(tmp_path, photos)
    names = ["cat", "dog", "flower", "pagoda"]
    rows = read_manifest(write_manifest(tmp_path), photos, names)
    lists = {
        "file": [row.file for row in rows],
        "part": pyarrow.array([row.split for row in rows]).dictionary_encode(),
        "positive": [sorted(row.positive) or None for row in rows],
        "negative": [sorted(row.negative) for row in rows],
    }
    texts = {**lists, "positive": ["|".join(each or []) for each in lists["positive"]]}
    for columns in (lists, texts):
        path = tmp_path / "manifest.parquet"
        pyarrow.parquet.write_table(pyarrow.table(columns), path)
        read = read_manifest(path, photos, names)
        assert [(r.file, r.split, r.positive, r.negative) for r in read] == [
            (r.file, r.split, r.positive, r.negative) for r in rows
        ]
        assert [row.row_number for row in read] == list(range(1, len(rows) + 1))
    assert len(rows) == len(expected.files) == ROWS.count("\n")


def test_parquet_numbers_become_shortest_text(tmp_path: Path) -> None:
    path = tmp_path / "numbers.parquet"
    columns = {"whole": [3, 4], "gaps": [5.0, None], "share": [0.5, 0.25]}
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    assert [dict(each.cells) for each in read_table(path, ("whole",))] == [
        {"whole": "3", "gaps": "5", "share": "0.5"},
        {"whole": "4", "gaps": "", "share": "0.25"},
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,c\n1,2\n", r"no column b; needs a, b, has a, c"),
        (b"", r"no column a, b; needs a, b, has none"),
        (b"a,b,b\n1,2,3\n", r"column b occurs twice"),
        (b"a,b\n1,2\n1,2,3\n", r"row 3: has 3 cells, more than the 2 columns of the header"),
        (b"a,b\n\xff,2\n", r"row 2, column a: \\xff is not UTF-8; in Windows-1252 it reads 'ÿ'"),
        (b'a,b\n1,2\n1,"2\n3,4\n5,6\n', r"row 3: cannot be read: .*a quote opened and not closed"),
        (b'a,b\n1,2\n1,"2\n3,4"\n5,6\n', r"row 3, column b: holds a line break"),
        (None, r"cannot be read"),
    ],
)
def test_invalid_csv_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "table.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=rf"table\.csv: .*{message}|{message}"):
        list(read_table(path, ("a", "b")))


ROWS_READ = [{"a": "1", "b": "x"}, {"a": "2", "b": ""}]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"a,b\n1,x\n2,\n", id="plain"),
        pytest.param(b",a,b\n0,1,x\n1,2,\n", id="pandas index"),
        pytest.param(b"Unnamed: 0,a,b\n0,1,x\n1,2,\n", id="index read and written again"),
        pytest.param(b'"a","b"\n"1","1","x"\n"2","2",""\n', id="R row names"),
        pytest.param(b",,\na,b,,\n1,x,,\n,,,\n2,,,\n,,\n", id="empty columns and rows"),
        pytest.param(b"a;b\r\n1;x\r\n2;\r\n", id="semicolons"),
        pytest.param(b"sep=;\r\na;b\r\n1;x\r\n2;\r\n", id="separator line"),
        pytest.param(b"a\tb\n1\tx\n2\t\n", id="tabs"),
        pytest.param(b"a,b\r1,x\r2,\r", id="carriage returns"),
        pytest.param(b"\xef\xbb\xbfa,b\n1,x\n2,\n", id="byte order mark"),
        pytest.param("a\tb\r\n1\tx\r\n2\t\r\n".encode("utf-16"), id="UTF-16"),
        pytest.param(b" A ,B\n1,x\n2,\n", id="header in another case"),
        pytest.param(b'a, "b"\n1, "x"\n2, ""\n', id="spaces before quotes"),
        pytest.param(b"a,note,b\n1,caf\xe9,x\n2,,\n", id="Latin-1 in an unused column"),
    ],
)
def test_tables_of_other_programs_are_equal(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "table.txt"
    path.write_bytes(content)
    read = [{"a": row["a"], "b": row["b"]} for row in read_table(path, ("a", "b"))]
    assert read == ROWS_READ


def test_names_in_other_normal_form_are_equal(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("e\u0301t\u00e9\ncafe\u0301|caf\u00e9\n", encoding="utf-8")
    for column in ("\u00e9t\u00e9", "e\u0301te\u0301"):
        (row,) = read_table(path, (column,))
        assert row.values(column) == {"caf\u00e9"}


def test_exact_column_wins_over_other_case(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a,b,B\n1,x,y\n")
    assert [row["b"] for row in read_table(path, ("a", "b"))] == ["x"]


def test_space_without_quote_stays_in_cell(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a,b\n1, x\n")
    assert [row["b"] for row in read_table(path, ("a", "b"))] == [" x"]


def test_other_columns_may_repeat_unless_all_are_read(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a,b,c,c\n1,x,2,3\n", encoding="utf-8")
    assert [row["b"] for row in read_table(path, ("a", "b"))] == ["x"]
    with pytest.raises(DataError, match="column c occurs twice; keep one of them"):
        list(read_table(path, ("a", "b"), unique=True))


def test_header_decides_delimiter_not_cells(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a,b\n1;2;3,x;y\n")
    assert [row["b"] for row in read_table(path, ("a", "b"))] == ["x;y"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"PK\x03\x04rest", "is an Excel workbook or another ZIP file"),
        ("t.xlsx", b"PK\x03\x04rest", "is a workbook; save the sheet as CSV UTF-8"),
        ("t.csv", b"PAR1rest", "is a Parquet file; rename it"),
        ("t.csv", "a,b\n1,x\n".encode("utf-16-le"), "has NUL characters"),
        ("t.csv", b"a,b,\n1,x,stray\n", r"row 2: cell 3, 'stray', is in a column without a name"),
        ("t.csv", b"a,A,c\n", r"no column b; .*the first row is the header"),
        ("t.csv", b"1.jpg,x\n", r"no column a, b; .*has 1\.jpg, x \(the first row is"),
        ("t.csv", b"a,B,B\n1,x,y\n", r"column b occurs twice: B, B"),
    ],
)
def test_unreadable_table_is_refused_with_its_cause(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(read_table(tmp_path / name, ("a", "b")))


@pytest.mark.parametrize(
    ("cell", "separator", "values"),
    [
        ("x|y ", "|", {"x", "y"}),
        ("x, y", ",", {"x", "y"}),
        ("x y", " ", {"x", "y"}),
        ("['x', 'y']", "|", {"x", "y"}),
        ('["x", "it\'s"]', "|", {"x", "it's"}),
        ("('x',)", "|", {"x"}),
        ("{'x', 'y'}", "|", {"x", "y"}),
        ("[]", "|", set()),
        ("NA", "|", set()),
        ("nan", "|", set()),
        ("None", "|", set()),
        ("(x)", "|", {"(x)"}),
    ],
)
def test_cell_is_split_by_separator_or_read_as_list(
    tmp_path: Path, cell: str, separator: str, values: set[str]
) -> None:
    row = TableRow(tmp_path, 2, {"a": cell})
    assert row.values("a", separator) == values


@pytest.mark.parametrize("cell", ["['x' 'y']", "[x, y]"])
def test_list_without_quotes_or_commas_is_refused(tmp_path: Path, cell: str) -> None:
    with pytest.raises(DataError, match=r"row 2, column a: .* is not a list of quoted texts"):
        TableRow(tmp_path, 2, {"a": cell}).values("a")


def test_parquet_index_missing_numbers_and_lists_are_read(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    columns = {"A": ["x", "y"], "b": [["p|q", "r"], None], "__index_level_0__": [7, 8]}
    pyarrow.parquet.write_table(pyarrow.table({**columns, "c": [float("nan"), 2.0]}), path)
    first, second = read_table(path, ("a", "b", "c"))
    assert (first["a"], first["c"]) == ("x", "")
    assert first.values("b", ",") == {"p|q", "r"}
    assert (second["c"], "__index_level_0__" in second.cells) == ("2", False)


def test_unused_column_may_contain_line_breaks(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text('a,note\n1,"two\nlines"\n\n2,\n')
    records = list(read_table(path, ("a",)))
    assert [(record.number, record["a"]) for record in records] == [(2, "1"), (5, "2")]


@pytest.mark.parametrize("name", ["table.json", "table"])
def test_unknown_file_suffix_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"must end in \.csv or \.parquet"):
        write_table(tmp_path / name, ("a",), [["1"]])
    with pytest.raises(DataError, match=r"must end in \.csv, \.tsv, \.txt or \.parquet"):
        list(read_table(tmp_path / name, ("a",)))


def test_invalid_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    with pytest.raises(DataError, match="cannot be read"):
        list(read_table(path, ("a",)))
    path.write_text("a,b\n")
    with pytest.raises(DataError, match="cannot be read"):
        list(read_table(path, ("a",)))
    pyarrow.parquet.write_table(pyarrow.table({"a": ["1"]}), path)
    with pytest.raises(DataError, match=r"no column b"):
        list(read_table(path, ("a", "b")))


def test_parquet_error_has_row_and_column(tmp_path: Path, photos: Path) -> None:
    path = tmp_path / "manifest.parquet"
    rows = [("cat.png", "train", "cat", ""), ("cat2.png", "train", "cta", "")]
    write_table(path, ("file", "part", "positive", "negative"), rows)
    with pytest.raises(DataError, match=r"manifest\.parquet: row 2, column positive: .*'cta'"):
        read_manifest(path, photos, ["cat"])


def test_unwritable_table_raises_data_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name in ("t.csv", "t.parquet"):
        with pytest.raises(DataError, match="cannot be written"):
            write_table(tmp_path / "file" / name, ("a",), [("1",)])


def test_parquet_without_extra_reports_missing_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # as if it were not installed
    ran = mumic(
        *(monkeypatch, capsys, "data", "split", "--targets", tmp_path / "targets.parquet"),
        *("--photos", tmp_path, "--out", tmp_path / "manifest.csv"),
    )
    assert (ran.code, ran.err) == (1, "mumic: pyarrow is missing; pip install 'mumic[train]'\n")
