"""Errors of invalid label sets: file, line, problem and remedy."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from app.core.labels import load_label_set
from app.errors import LabelSetError

HEAD = 'version: "1"\nlabels:\n'
ROOM = "  - {id: room, name: Room, description: a room, category: Inside}\n"

LoadErrors = Callable[[str | bytes], list[str]]


@pytest.fixture
def load_errors(tmp_path: Path) -> LoadErrors:
    """Return the lines of the error for a file with this content, without the directory."""

    def load(content: str | bytes) -> list[str]:
        path = tmp_path / "my.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(LabelSetError) as raised:
            load_label_set(path)
        return str(raised.value).replace(f"{tmp_path}/", "").splitlines()

    return load


@pytest.mark.parametrize(
    ("added", "expected"),
    [
        (
            "  - {id: bed, name: Bed, description: a bed}\n",
            "my.yaml:4: labels[1].category: field required",
        ),
        (
            "  - {id: bed, name: Bed, description: a bed, category: X,\n     promt: name}\n",
            "my.yaml:5: labels[1].promt: unknown key 'promt'; did you mean 'prompt'?",
        ),
        (
            "  - {id: bed, name: Bed, description: a bed, category: X,\n"
            "     thresholds: {serv: 0.2}}\n",
            "my.yaml:5: labels[1].thresholds.serv: unknown key 'serv'; did you mean 'serve'?",
        ),
        (
            "templat: a {}\n",
            "my.yaml:4: templat: unknown key 'templat'; did you mean 'template'?",
        ),
        (
            "  - {id: bed, name: No, description: a bed, category: X}\n",
            "my.yaml:4: labels[1].name: should be text; got False (put it in quotes to make it"
            " text)",
        ),
        (
            "  - {id: bed, name: Bed, description: ' ', category: X}\n",
            "my.yaml:4: labels[1].description: should not be empty",
        ),
        (
            "  - {id: Bed, name: Bed, description: a bed, category: X}\n",
            "my.yaml:4: labels[1].id: string should match pattern '^[a-z0-9][a-z0-9_]*$';"
            " got 'Bed'",
        ),
        (
            "  - {id: bed, name: Bed, description: a bed, category: X, parents: room}\n",
            "my.yaml:4: labels[1].parents: should be a list; got 'room'",
        ),
        (
            "  - bed\n",
            "my.yaml:4: labels[1]: should be a mapping of id, name, description, category,"
            " parents, prompt, positive_weight, thresholds, evidence, calibration, added; "
            "got 'bed'",
        ),
        (
            "  - {id: bed, name: Bed, description: a bed, category: X, prompt: title}\n",
            "my.yaml:4: labels[1].prompt: input should be 'name' or 'description'; got 'title'",
        ),
        (
            "  - {id: bed, name: Bed, description: a bed, category: X, positive_weight: 0}\n",
            "my.yaml:4: labels[1].positive_weight: input should be greater than 0; got 0",
        ),
        (
            "  - {id: bed, name: Bed, description: a bed, category: X, thresholds: {serve: 2}}\n",
            "my.yaml:4: labels[1].thresholds.serve: input should be less than or equal to 1; got 2",
        ),
        (
            "  - {id: bed, name: Bed, description: a bed, category: X, thresholds: {serve: yes}}\n",
            "my.yaml:4: labels[1].thresholds.serve: input should be a valid number; got True",
        ),
        (
            "  - {id: bed, name: Bed, description: a bed, category: X,\n"
            "     thresholds: {serve: .nan}}\n",
            "my.yaml:5: labels[1].thresholds.serve: input should be a finite number; got nan",
        ),
        (
            "  - {id: bed, name: Bed, description: a bed, category: X,\n"
            "     thresholds: {serve: none}}\n",
            "my.yaml:5: labels[1].thresholds.serve: input should be a valid number; got 'none'",
        ),
        (
            "  - {id: bed, name: Bed, description: a bed, category: X,\n"
            "     thresholds: {store: null}}\n",
            "my.yaml:5: labels[1].thresholds.store: input should be a valid number; got None",
        ),
        (
            "  - {id: bed, name: Bed, description: a bed, category: X, evidence: photos}\n",
            "my.yaml:4: labels[1].evidence: input should be 'human', 'pseudo' or 'none'; got"
            " 'photos'",
        ),
        (
            "  - {id: room, name: Bed, description: a bed, category: X}\n",
            "my.yaml:4: labels[1].id: 'room' is already the id of labels[0] (line 3)",
        ),
        (
            "  - {id: bed, name: Bed, description: a bed, category: X,\n     parents: [rooms]}\n",
            "my.yaml:5: labels[1].parents[0]: unknown label 'rooms'; did you mean 'room'?",
        ),
        (
            "  - {id: hall, name: Hall, category: X, prompt: description,\n"
            "     description: ' rOOM '}\n",
            "my.yaml:5: labels[1].description: its prompt 'a photo with rOOM' is the same text to"
            " the tokenizer as 'a photo with room' of labels[0]; change one of them (line 3)",
        ),
        (
            "  - {id: hall, name: Ro&#111;m, category: X, description: x}\n",
            "my.yaml:4: labels[1].name: its prompt 'a photo with ro&#111;m' is the same text to"
            " the tokenizer as 'a photo with room' of labels[0]; change one of them (line 3)",
        ),
        (
            "  - {id: hall, name: room, category: X, description: x}\n",
            "my.yaml:4: labels[1].name: has the same prompt as labels[0], 'a photo with room';"
            " change one's text (line 3)",
        ),
        (
            "template: a photo\n",
            'my.yaml:4: template: must contain the placeholder "{}" exactly once; got a photo',
        ),
        (
            "template: '{} and {}'\n",
            'my.yaml:4: template: must contain the placeholder "{}" exactly once; got {} and {}',
        ),
        ("version: '2'\n", "my.yaml:4: version: is given twice, first on line 1; keep one"),
        ("? [a, b]\n: c\n", "my.yaml:4: has a key that is not plain text"),
        (
            "template: !!python/object/apply:os.getcwd []\n",
            "my.yaml:4: template: has the tag tag:yaml.org,2002:python/object/apply:os.getcwd;"
            " remove it",
        ),
        (
            "template: !mine a {}\n",
            "my.yaml:4: template: could not determine a constructor for the tag '!mine'",
        ),
        (
            "template: 2024-13-45\n",
            "my.yaml:4: template: month must be in 1..12",
        ),
    ],
)
def test_error_has_line_and_remedy(load_errors: LoadErrors, added: str, expected: str) -> None:
    assert load_errors(HEAD + ROOM + added) == [expected]


def test_cycle_of_parents_is_reported(load_errors: LoadErrors) -> None:
    reported = load_errors(
        HEAD
        + "  - {id: a, name: A, description: an a, category: X, parents: [b]}\n"
        + "  - {id: b, name: B, description: a b, category: X, parents: [c]}\n"
        + "  - {id: c, name: C, description: a c, category: X, parents: [a]}\n"
    )
    assert len(reported) == 1
    found = re.fullmatch(
        r"my\.yaml:(\d): labels\[(\d)\]\.parents: a label is its own ancestor: "
        r"(\w) -> (\w) -> (\w) -> (\w); remove one of the parents",
        reported[0],
    )
    assert found
    line, index, *cycle = found.groups()
    assert int(line) == int(index) + 3
    assert "".join(cycle) in {"abca", "bcab", "cabc"}
    assert cycle[0] == "abc"[int(index)]


def test_label_as_its_own_parent_is_reported(load_errors: LoadErrors) -> None:
    found = load_errors(
        f"{HEAD}  - {{id: a, name: A, description: an a, category: X, parents: [a]}}"
    )
    assert found == [
        "my.yaml:3: labels[0].parents: a label is its own ancestor: a -> a; remove one of the"
        " parents"
    ]


def test_problems_are_reported_together_up_to_limit(load_errors: LoadErrors) -> None:
    found = load_errors(f"{HEAD}{ROOM}  - {{id: B, nam: B, description: 3, category: X}}\nx: 1\n")
    assert [line.split(": ")[1] for line in found] == [
        "labels[1].id",
        "labels[1].name",
        "labels[1].description",
        "labels[1].nam",
        "x",
    ]
    found = load_errors(HEAD + ROOM * 5000)
    assert len(found) < 30
    assert found[-1] == "my.yaml: and more"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "my.yaml:1: is empty"),
        ("# nothing\n", "my.yaml:1: is empty"),
        ("- a\n", "my.yaml:1: should be a mapping of version, template, labels; got ['a']"),
        ('version: "1"\n', "my.yaml:1: labels: field required"),
        ('version: "1"\nlabels: []\n', "my.yaml:2: labels: should not be empty"),
        (HEAD + ROOM + "a: b: c\n", "my.yaml:4:5: cannot be read as YAML: mapping values are not"),
        (HEAD + ROOM + "---\na: b\n", "my.yaml:4:1: cannot be read as YAML: expected a single"),
        (HEAD + ROOM + "x: \x07\n", "my.yaml:4: cannot be read as YAML: "),
        (
            "a: &a [lol]\nb: [*a, *a]\n",
            "my.yaml:2:5: cannot be read as YAML: *a is an alias; write the value out",
        ),
        ("a: &a [*a]\n", "my.yaml:1:8: cannot be read as YAML: *a is an alias"),
        ("[" * 100_000, "my.yaml:1:33: cannot be read as YAML: it is nested too deeply"),
        (b"version: '1'\nlabels: \xff\n", "my.yaml:2: is not UTF-8"),
        ('version: "1"\n'.encode("utf-16"), "my.yaml:1: is not UTF-8"),
    ],
)
def test_file_without_label_set_is_rejected(
    load_errors: LoadErrors, content: str | bytes, expected: str
) -> None:
    (first,) = load_errors(content)
    assert first.startswith(expected)


def test_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(LabelSetError, match=r"no\.yaml: cannot be read: No such file"):
        load_label_set(tmp_path / "no.yaml")
