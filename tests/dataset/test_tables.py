"""CSV and Parquet tables have equal rows, and errors have a location."""

import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.dataset.manifest import read_manifest, read_table, write_table
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
