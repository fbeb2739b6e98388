"""Label Studio: a project that asks the questions, and its export back to votes.

Formats: https://labelstud.io/tags/choices and https://labelstud.io/guide/task_format.
"""

import codecs
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote
from xml.etree import ElementTree as ET

from pydantic import AfterValidator, BaseModel, Field, TypeAdapter, ValidationError

from app.annotation.questions.questions import Question
from app.annotation.questions.votes import VoteTally
from app.annotation.requests import LOCAL_FILES_URL
from app.core.labels import Label
from app.dataset.manifest import check_name_known, check_photo_exists
from app.errors import DataError

# Hyphens: neither can be the id of a question or a label.
PHOTO = "the-photo"
NONE = "none-of-these"
PROJECT_FILES = ("config.xml", "tasks.json")


def label_studio_config(
    questions: Sequence[Question], labels: Mapping[str, Label], exclusive: Sequence[Sequence[str]]
) -> str:
    """The project's labelling configuration, XML.

    Every question must be answered and can be answered by "None of these", so that what was not
    chosen is absent and what was not asked is unknown. A question whose labels all exclude each
    other takes one answer.

    Args:
        questions: what to ask, in this order.
        labels: the choices' names and descriptions, by id.
        exclusive: sets of labels of which at most one is true.
    """
    view = ET.Element("View")
    ET.SubElement(view, "Image", name=PHOTO, value="$image")
    for question in questions:
        ET.SubElement(view, "Header", value=question.text)
        one = any(set(question.labels) <= set(labels_) for labels_ in exclusive)
        choices = ET.SubElement(
            view,
            "Choices",
            name=question.id,
            toName=PHOTO,
            choice="single-radio" if one else "multiple",
            required="true",
            requiredMessage=f"Please answer: {question.text}",
        )
        for id in question.labels:
            label = labels[id]
            ET.SubElement(choices, "Choice", value=label.name, alias=id, hint=label.description)
        ET.SubElement(choices, "Choice", value="None of these", alias=NONE)
    ET.indent(view)
    return ET.tostring(view, encoding="unicode") + "\n"


def label_studio_tasks(
    files: Sequence[str], image_url: str = LOCAL_FILES_URL
) -> list[dict[str, Any]]:
    """The project's tasks, one a photo.

    Args:
        files: photos, relative to the photo folder.
        image_url: what goes before a file to make the address where Label Studio finds it.
    """
    return [{"data": {"image": image_url + quote(file), "file": file}} for file in files]


class _Value(BaseModel):
    choices: list[str]


class _Choices(BaseModel):
    type: Literal["choices"]
    from_name: str
    value: _Value


def _no_choices(type: str) -> str:
    if type == "choices":
        raise ValueError("choices without a list of choices")
    return type


class _Other(BaseModel):
    type: Annotated[str, AfterValidator(_no_choices)]


class _Annotation(BaseModel):
    id: int | str
    completed_by: int | dict[str, Any] | None = None
    was_cancelled: bool = False
    result: list[Annotated[_Choices | _Other, Field(union_mode="left_to_right")]]

    @property
    def annotator(self) -> str:
        """Who answered; an annotation without a name is a person of its own."""
        by = self.completed_by
        if isinstance(by, dict):
            by = by.get("id", by.get("email"))
        return f"annotation {self.id}" if by is None else str(by)


class _Task(BaseModel):
    id: int | str
    data: dict[str, Any]
    annotations: list[_Annotation]


def read_label_studio_export(
    path: Path, photos: Path, questions: Sequence[Question], names: Collection[str]
) -> list[VoteTally]:
    """Read the votes of a project from its export in the format JSON.

    Who answered a question voted on each of its labels; skipped tasks are left out. Where a
    person answered a photo's question twice, the later answer in the file counts.

    Args:
        path: the export.
        photos: the folder that the tasks' files are relative to.
        questions: those that were asked.
        names: the labels that may be voted on.

    Returns:
        One tally for each photo and label that was asked.

    Raises:
        DataError: naming task and annotation: the file is not such an export, a photo is missing,
            or a question or choice is unknown.
    """
    by_id = {question.id: question for question in questions}
    answers: dict[tuple[str, str], dict[str, frozenset[str]]] = {}
    for task in _tasks(path):
        where = f"{path}: task {task.id}"
        file = task.data.get("file")
        if not isinstance(file, str):
            raise DataError(f"{where}, data.file: is missing; `mumic data tasks` writes it")
        check_photo_exists(file, photos, f"{where}, data.file")
        for annotation in task.annotations:
            if annotation.was_cancelled:
                continue
            place = f"{where}, annotation {annotation.id}"
            for question, chosen in _chosen(annotation, place, by_id, names):
                answers.setdefault((file, question), {})[annotation.annotator] = chosen
    if not answers:
        raise DataError(f"{path}: holds no answer to a question")
    return [
        VoteTally(file, label, sum(label in chosen for chosen in given.values()), len(given))
        for (file, question), given in answers.items()
        for label in by_id[question].labels
    ]


def _tasks(path: Path) -> list[_Task]:
    try:
        text = path.read_bytes().removeprefix(codecs.BOM_UTF8)
        return TypeAdapter(list[_Task]).validate_json(text)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        at = ".".join(map(str, first["loc"]))
        advice = "is the file whole" if first["type"] == "json_invalid" else "is it JSON-MIN"
        raise DataError(
            f"{path}: {at + ': ' if at else ''}{first['msg']}; {advice}? Export the project as JSON"
        ) from error


def _chosen(
    annotation: _Annotation,
    where: str,
    questions: Mapping[str, Question],
    names: Collection[str],
) -> Iterator[tuple[str, frozenset[str]]]:
    for result in annotation.result:
        if not isinstance(result, _Choices):
            continue
        if result.from_name not in questions:
            known = ", ".join(questions)
            raise DataError(f"{where}: unknown question {result.from_name!r}; known: {known}")
        question = questions[result.from_name]
        chosen = frozenset(result.value.choices) - {NONE}
        for label in sorted(chosen):
            place = f"{where}, question {question.id}"
            check_name_known(label, place, names)
            if label not in question.labels:
                raise DataError(f"{place}: {label!r} is none of its choices")
        yield question.id, chosen


def write_label_studio_project(
    folder: Path,
    config: str,
    project_tasks: Sequence[Mapping[str, Any]],
) -> None:
    """Write `config.xml` and `tasks.json`.

    Raises:
        DataError: they cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tasks_text = json.dumps(project_tasks, indent=1, ensure_ascii=False) + "\n"
        for name, text in zip(PROJECT_FILES, (config, tasks_text), strict=True):
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error}") from error
