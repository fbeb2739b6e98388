"""Grouping of labels into questions, and the Label Studio project with these questions."""

import json
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from app.annotation.questions import (
    Questionnaire,
    dump_questionnaire,
    load_questionnaire,
    make_questions,
    question_warnings,
)
from app.annotation.questions.label_studio import NONE_CHOICE
from app.annotation.questions.questions import Question
from app.core.labels import Label, LabelSet, builtin_label_set
from app.errors import DataError
from tests.support.command import Run, mumic

TRAVEL = builtin_label_set()
SEASONS = ("winter", "spring", "summer", "autumn")
ROOMS = ("bedroom", "bathroom", "kitchen", "lobby", "gym")
HARD = ("sightseeing", "spa", "art_decor", "historical_structure", "wedding")


def label_set_of(categories: Sequence[str]) -> LabelSet:
    return LabelSet(
        version="1",
        labels=tuple(
            Label(id=f"l{i}", name=f"l{i}", description=f"l{i}", category=category)
            for i, category in enumerate(categories)
        ),
    )


@settings(max_examples=40)
@given(sizes=st.lists(st.integers(1, 20), min_size=1, max_size=4), data=st.data())
def test_each_label_is_in_one_question_of_four_to_six(
    sizes: list[int], data: st.DataObject
) -> None:
    labels = label_set_of([c for c, size in zip("abcd", sizes, strict=False) for _ in range(size)])
    some = st.lists(st.sampled_from(labels.ids), unique=True, max_size=6)
    exclusive, hard = data.draw(some), data.draw(some)
    questions = make_questions(labels, [exclusive], hard)
    assert sorted(id for q in questions for id in q.labels) == sorted(labels.ids)
    assert len({question.id for question in questions}) == len(questions)
    lengths = [len(question.labels) for question in questions]
    assert max(lengths) <= 6
    if sum(sizes) not in {1, 2, 3, 7}:
        assert min(lengths) >= 4


def test_exclusive_labels_are_grouped_and_hard_labels_separated() -> None:
    questions = make_questions(TRAVEL, [SEASONS, ROOMS], HARD)
    for labels in (SEASONS, ROOMS):
        assert any(set(labels) <= set(question.labels) for question in questions)
    assert all(len(set(HARD) & set(question.labels)) <= 1 for question in questions)
    assert (
        question_warnings(Questionnaire(exclusive=(SEASONS, ROOMS), hard=HARD, questions=questions))
        == []
    )
    categories = {label.id: label.category for label in TRAVEL.labels}
    mixed = [q for q in questions if len({categories[label] for label in q.labels}) > 1]
    assert len(mixed) == 1  # the question of the category Rooms


def test_unusual_questions_are_reported() -> None:
    questions = (
        Question(id="q", text="?", labels=("winter", "spring", "spa", "wedding")),
        Question(id="r", text="?", labels=("summer",)),
    )
    assert question_warnings(
        Questionnaire(exclusive=(SEASONS,), hard=HARD, questions=questions)
    ) == [
        "q has several hard labels: spa, wedding",
        "r has 1 choices, not 4 to 6",
        "exclusive labels are in different questions: winter, spring, summer, autumn",
    ]


def test_dumped_questionnaire_loads_back_equal(tmp_path: Path) -> None:
    questionnaire = Questionnaire(
        exclusive=(SEASONS,), hard=HARD, questions=make_questions(TRAVEL, [SEASONS], HARD)
    )
    dump_questionnaire(questionnaire, tmp_path / "q.yaml")
    assert load_questionnaire(tmp_path / "q.yaml", TRAVEL.ids) == questionnaire


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hard: [wintr]", r"q.yaml:1: hard\[0\]: unknown label 'wintr'; did you mean 'winter'"),
        ("exclusive: [[winter], [winter]]", r"'winter' occurs twice"),
        ("questions: [{id: q, text: t, labels: [spa, spa]}]", r"'spa' occurs twice"),
        ("questions: [{id: q, text: t, labels: []}]", r"questions\[0\]\.labels"),
        (
            "questions: [{id: q, text: t, labels: [spa]}, {id: q, text: t, labels: [gym]}]",
            r"'q' is already the id",
        ),
    ],
)
def test_invalid_questions_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "q.yaml").write_text(text)
    with pytest.raises(DataError, match=message):
        load_questionnaire(tmp_path / "q.yaml", TRAVEL.ids)


def run_tasks(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    *more: str | Path,
) -> Run:
    return mumic(
        *(monkeypatch, capsys, "data", "tasks", "--candidates", folder / "list.csv"),
        *("--photos", folder / "photos", "--labels", folder / "labels.yaml"),
        *("--out", folder / "project", *more),
    )


def test_project_has_every_question_and_photo(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    (folder / "hints.yaml").write_text("exclusive: [[pool, garden]]\nhard: [suite]\n")
    ran = run_tasks(monkeypatch, capsys, folder, "--questions", folder / "hints.yaml")
    assert ran.code == 0, ran.err
    view = ET.parse(folder / "project" / "config.xml").getroot()
    assert [element.tag for element in view] == ["Image", "Header", "Choices"]
    image, _, choices = view
    assert choices.attrib["toName"] == image.attrib["name"]
    assert (choices.attrib["choice"], choices.attrib["required"]) == ("multiple", "true")
    aliases = [choice.attrib["alias"] for choice in choices]
    assert sorted(aliases) == sorted(["room", "bedroom", "suite", "pool", "garden", NONE_CHOICE])
    tasks = json.loads((folder / "project" / "tasks.json").read_text())
    assert [task["data"]["file"] for task in tasks] == ["00.png", "01.png", "a room & a view.png"]
    assert tasks[2]["data"]["image"] == "/data/local-files/?d=a%20room%20%26%20a%20view.png"


def test_edited_questions_are_kept_and_used(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    assert run_tasks(monkeypatch, capsys, folder).code == 0
    edited = folder / "project" / "questions.yaml"
    made = yaml.safe_load(edited.read_text())
    assert [question["id"] for question in made["questions"]] == ["room_1"]
    ran = run_tasks(monkeypatch, capsys, folder)
    assert ran.code == 2
    assert "questions.yaml exists: use it with --questions" in ran.err
    text = (
        "exclusive: [[pool, garden]]\nquestions: [{id: out, text: Out?, labels: [pool, garden]}]\n"
    )
    edited.write_text(text)
    ran = run_tasks(monkeypatch, capsys, folder, "--questions", edited)
    assert ran.code == 0, ran.err
    assert "out has 2 choices, not 4 to 6" in ran.err
    assert edited.read_text() == text
    view = ET.parse(folder / "project" / "config.xml").getroot()
    choices = view.find("Choices")
    assert choices is not None
    assert (choices.attrib["name"], choices.attrib["choice"]) == ("out", "single-radio")


def test_folder_with_other_project_is_unchanged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    other = folder / "other"
    other.mkdir()
    (other / "tasks.json").write_text("[]")
    (folder / "picked.csv").write_text("file\n00.png\n")
    ran = mumic(
        *(monkeypatch, capsys, "data", "tasks", "--candidates", folder / "picked.csv"),
        *("--photos", folder / "photos", "--labels", folder / "labels.yaml", "--out", other),
    )
    assert ran.code == 2
    assert "holds another project" in ran.err
    assert [path.name for path in other.iterdir()] == ["tasks.json"]


def test_candidates_without_rows_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    (folder / "list.csv").write_text("file\n")
    ran = run_tasks(monkeypatch, capsys, folder)
    assert ran.code == 1
    assert "list.csv: has a header but no rows" in ran.err
