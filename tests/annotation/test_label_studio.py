"""Conversion of Label Studio exports to votes, and the errors of invalid exports."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.annotation.questions import VoteTally, read_label_studio_export
from app.annotation.questions.label_studio import NONE_CHOICE
from app.annotation.questions.questions import Question
from app.errors import DataError
from tests.support.command import mumic

OUT = Question(id="out", text="Out?", labels=("pool", "garden"))
ROOM = Question(id="room_1", text="Room?", labels=("room", "bedroom"))


def answer(question: str, *chosen: str) -> dict[str, Any]:
    """Build the answer to a question in Label Studio's export format."""
    return {
        **{"id": "Dx_aB91ISN", "from_name": question, "to_name": "the-photo", "type": "choices"},
        "value": {"choices": list(chosen)},
        "origin": "manual",
    }


def annotation_by(annotator: object, *answers: dict[str, Any], **more: object) -> dict[str, Any]:
    """Build an annotator's annotation of a task in Label Studio's export format."""
    return {
        **{"id": 1001, "completed_by": annotator, "result": list(answers), "was_cancelled": False},
        **{"ground_truth": False, "created_at": "2021-03-09T22:16:08.728353Z", "lead_time": 4.2},
        **more,
    }


def write_export(folder: Path, *annotations: dict[str, Any], file: str = "00.png") -> Path:
    task = {"id": 7, "data": {"image": "/x", "file": file}, "annotations": list(annotations)}
    (folder / "export.json").write_text(json.dumps([{**task, "predictions": [], "project": 83}]))
    return folder / "export.json"


def test_export_is_converted_to_votes(folder: Path) -> None:
    export = write_export(
        folder,
        annotation_by(1, answer("out", "pool"), answer("room_1", NONE_CHOICE)),
        annotation_by({"id": 2, "email": "b@example.com"}, answer("out", "pool", "garden")),
        annotation_by(3, answer("out", NONE_CHOICE)),
        annotation_by(4, answer("out", "garden"), was_cancelled=True),
        annotation_by(3, answer("out", "pool")),
        annotation_by(
            5, {"id": "x", "type": "textarea", "from_name": "c", "value": {"text": ["?"]}}
        ),
    )
    tallies = read_label_studio_export(export, folder / "photos", [OUT, ROOM], ["pool", "garden"])
    assert set(tallies) == {
        *(VoteTally("00.png", "pool", 3, 3), VoteTally("00.png", "garden", 1, 3)),
        *(VoteTally("00.png", "room", 0, 1), VoteTally("00.png", "bedroom", 0, 1)),
    }


@pytest.mark.parametrize(
    ("annotation", "file", "message"),
    [
        (
            annotation_by(1, answer("out", "pol")),
            "00.png",
            "annotation 1001, question out: .*'pol'; nea",
        ),
        (
            annotation_by(1, answer("out", "room")),
            "00.png",
            "question out: 'room' is not one of its",
        ),
        (annotation_by(1, answer("in", "pool")), "00.png", "unknown question 'in'; known: out"),
        (annotation_by(1), "99.png", "task 7, data.file: no photo .*99.png"),
        (
            annotation_by(1),
            "../q.yaml",
            "task 7, data.file: ../q.yaml is not below the photo folder",
        ),
        ({"id": 1}, "00.png", "0.annotations.0.result: Field required; is it JSON-MIN"),
        (
            annotation_by(1, {**answer("out"), "value": {"choices": "pool"}}),
            "00.png",
            "value.choices: Input should be a valid array",
        ),
        (
            annotation_by(1, {**answer("out"), "value": {"text": ["pool"]}}),
            "00.png",
            "value.choices: Field required",
        ),
        (annotation_by(1), "00.png", "has no answer"),
    ],
)
def test_invalid_export_is_refused_with_location(
    folder: Path, annotation: dict[str, Any], file: str, message: str
) -> None:
    export = write_export(folder, annotation, file=file)
    with pytest.raises(DataError, match=rf"export\.json.*{message}"):
        read_label_studio_export(export, folder / "photos", [OUT], ["pool", "garden", "room"])


def test_foreign_or_truncated_export_is_refused(folder: Path) -> None:
    export = write_export(folder, annotation_by(1, answer("out", "pool")))
    text = export.read_text()
    export.write_text("\ufeff" + text)
    assert len(read_label_studio_export(export, folder / "photos", [OUT], ["pool", "garden"])) == 2
    for broken, message in (
        (text.replace(', "file": "00.png"', ""), "task 7, data.file: is missing"),
        (text[:-40], "Invalid JSON.*is the file whole"),
    ):
        export.write_text(broken)
        with pytest.raises(DataError, match=message):
            read_label_studio_export(export, folder / "photos", [OUT], ["pool", "garden"])


def test_consolidate_command_reads_export(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    export = write_export(folder, annotation_by(1, answer("out", "pool")))
    (folder / "q.yaml").write_text("questions: [{id: out, text: Out?, labels: [pool, garden]}]\n")
    arguments = (
        *("data", "consolidate", "--votes", export, "--photos", folder / "photos"),
        *("--labels", folder / "labels.yaml", "--out", folder / "targets.csv"),
    )
    ran = mumic(monkeypatch, capsys, *arguments)
    assert ran.code == 2
    assert "needs its questions file" in ran.err
    ran = mumic(monkeypatch, capsys, *arguments, "--questions", folder / "q.yaml")
    assert ran.code == 0, ran.err
    text = (folder / "targets.csv").read_text()
    assert text == "file,positive,negative\n00.png,pool,garden\n"
