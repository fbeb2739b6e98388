"""Definitions of human-labelled names in a label set."""

from pathlib import Path

import pytest

from app.core.labels import builtin_label_set
from app.dataset.manifest import NameDefinition, load_names
from app.errors import DataError

DEMO = Path(__file__).parents[2] / "recipes" / "demo" / "names.yaml"


def test_demo_names_fit_travel_label_set() -> None:
    names = load_names(DEMO, builtin_label_set())
    assert len(names) == 29
    assert names["person"] == NameDefinition(text="person", label="people", source="voc")
    assert names["cow"] == NameDefinition(
        text="cow", label=None, implies=("animal_not_pets",), source="voc"
    )
    assert names["frontal"].label == "building_facade"
    assert {name.source for name in names.values()} == {"voc", "miml", "houses"}
    assert len({name.text for name in names.values()}) == 29
    labels = [name.label for name in names.values() if name.label is not None]
    assert len(set(labels)) == len(labels)


def test_implies_and_source_are_optional_and_keys_stay_strings(tmp_path: Path) -> None:
    path = tmp_path / "names.yaml"
    path.write_text("names:\n  no: {text: parking, label: parking}\n  7: {text: x, label: null}\n")
    assert load_names(path, builtin_label_set()) == {
        "no": NameDefinition(text="parking", label="parking", implies=(), source=None),
        "7": NameDefinition(text="x", label=None),
    }


def test_names_are_in_normal_form_c(tmp_path: Path) -> None:
    path = tmp_path / "names.yaml"
    path.write_text("names:\n  cafe\u0301: {text: bar, label: null}\n", encoding="utf-8")
    assert list(load_names(path, builtin_label_set())) == ["caf\u00e9"]


@pytest.mark.parametrize(
    ("content", "messages"),
    [
        ("names: {}\n", ["1: names: should not be empty"]),
        ("nams: {}\n", ["1: names: field required", "1: nams: unknown key 'nams'; did you mean"]),
        ("names:\n  cow: {text: cow}\n", ["2: names.cow.label: field required"]),
        (
            "names:\n  cow: {text: cow, label: null, sourc: voc}\n",
            ["2: names.cow.sourc: unknown key 'sourc'; did you mean 'source'?"],
        ),
        (
            "names:\n"
            "  sofa: {text: sofa, label: soffa}\n"
            "  cow:\n"
            "    text: cow\n"
            "    label: null\n"
            "    implies: [people, animal_not_pet]\n",
            [
                "2: names.sofa.label: unknown label 'soffa'; did you mean 'sofa'",
                "6: names.cow.implies[1]: unknown label 'animal_not_pet'; did you mean"
                " 'animal_not_pets'",
            ],
        ),
        (
            "names:\n  cow: {text: cow, label: null}\n  cow: {text: ox, label: null}\n",
            ["3: names.cow: is given twice, first on line 2; keep one"],
        ),
    ],
)
def test_invalid_names_are_reported_with_line_and_remedy(
    tmp_path: Path, content: str, messages: list[str]
) -> None:
    path = tmp_path / "names.yaml"
    path.write_text(content)
    with pytest.raises(DataError) as raised:
        load_names(path, builtin_label_set())
    lines = str(raised.value).splitlines()
    assert len(lines) == len(messages)
    for line, expected in zip(lines, messages, strict=True):
        assert line.startswith(f"{path}:{expected}")


def test_missing_names_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.yaml: cannot be read"):
        load_names(tmp_path / "no.yaml", builtin_label_set())
