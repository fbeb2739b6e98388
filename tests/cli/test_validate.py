"""`mumic validate`: the answer of POST /validate for files and folders."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.command import Run
from tests.support.requests import multipart, photo, truncated

Mumic = Callable[..., Run]
WITHIN = 1e-4  # float32 sums in batches of another size
DECLARED = ("--declared", "swimming_pool", "--declared", "a spiral staircase")


@pytest.fixture
def run(run: Mumic) -> Mumic:
    """`mumic validate ARGUMENTS...` with the tiny checkpoint."""
    return partial(run, "validate")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a good photo and a truncated one."""
    (tmp_path / "cat.jpg").write_bytes(photo())
    (tmp_path / "cut.jpg").write_bytes(truncated())
    return tmp_path


def without_ids(document: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(document)
    return dict(json.loads(text.replace("0.jpg", "cat.jpg").replace("1.jpg", "cut.jpg")))


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    """Return the values of a JSON document by their path."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {k: v for key, each in items for k, v in leaves(each, f"{path}/{key}").items()}
    return {path: value}


def test_json_equals_response_of_server(run: Mumic, folder: Path, client: httpx.Client) -> None:
    arguments = (*DECLARED, "--include-category", "Room", "--exclude-label", "lamp")
    ran = run("--json", "--precision", "fp32", *arguments, folder)
    assert ran.code == 1
    document = json.loads(ran.out.replace(f"{folder}/", ""))
    body = multipart(
        photo(),
        truncated(),
        declared=["swimming_pool", "a spiral staircase"],
        include_categories="Room",
        exclude_labels="lamp",
    )
    expected = leaves(without_ids(client.post("/validate", **body).json()))
    assert leaves(document) == pytest.approx(expected, abs=WITHIN)
    assert "1 of 2 photos cannot be used" in ran.err


def test_table_has_row_per_facility_and_undeclared_label(run: Mumic, folder: Path) -> None:
    ran = run(*DECLARED, "--min-confidence", "0", "--include-label", "gym", folder / "cat.jpg")
    assert (ran.code, ran.err) == (0, "")
    header, *rows = ran.out.splitlines()
    assert header.split() == "facility status confidence threshold rule photos best photo".split()
    assert [row.split("  ")[0] for row in rows] == ["swimming_pool", "a spiral staircase", "Gym"]
    assert [row.split()[-6] for row in rows] == ["confirmed", "confirmed", "undeclared"]
    assert all(row.split()[-4:-1] == ["0.00", "min_confidence", "1"] for row in rows)


def test_facility_that_is_not_seen_has_best_photo(run: Mumic, folder: Path) -> None:
    arguments = ("--declared", "swiming pool", "--min-confidence", "1", "--include-label", "gym")
    ran = run(*arguments, folder / "cat.jpg")
    _, row, note = ran.out.splitlines()
    assert row.split()[-6] == "not_seen"
    assert row.endswith(f"0       {folder}/cat.jpg")
    assert note.startswith("swiming pool: scored as a text; is the label swimming_pool")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "declared: give at least one facility"),
        (("--declared", " "), "declared: a facility must not be empty"),
        (("--declared", "swiming_pool"), "did you mean 'swimming_pool'"),
        (("--declared", "gym", "--declared", "Gym"), "are the label gym"),
        (("--declared", "very " * 40 + "nice pool"), "reads at most 30"),
        (("--declared", "gym", "--include-label", "beech"), "beach"),
    ],
)
def test_wrong_call_exits_2_with_hint(
    run: Mumic, folder: Path, arguments: tuple[str, ...], words: str
) -> None:
    ran = run(*arguments, folder)
    assert (ran.code, ran.out) == (2, "")
    assert words in ran.err


def test_no_usable_photo_exits_1_without_result(run: Mumic, folder: Path) -> None:
    ran = run("--json", *DECLARED, folder / "cut.jpg", folder / "gone.jpg")
    assert (ran.code, ran.out) == (1, "")
    assert "cut.jpg: error: the JPEG image is truncated" in ran.err
    assert "gone.jpg: error: cannot read the file" in ran.err
    assert "2 of 2 photos cannot be used" in ran.err
    (folder / "empty").mkdir()
    assert run(*DECLARED, folder / "empty").err == (
        f"mumic: no photo was found in {folder}/empty\n"
    )
