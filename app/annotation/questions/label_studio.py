"""Label Studio: creates a project for the questions and reads its export as votes.

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
from app.dataset.manifest import PhotoFolder, check_name_known
from app.errors import DataError

# Ids of questions and labels have no hyphens, so these two cannot collide with them.
PHOTO_TAG = "the-photo"
NONE_CHOICE = "none-of-these"
PROJECT_FILES = ("config.xml", "tasks.json")


def label_studio_config(
    questions: Sequence[Question], labels: Mapping[str, Label], exclusive: Sequence[Sequence[str]]
) -> str:
    """Return the project's labelling configuration as XML.

    Every question requires an answer and offers "None of these": a choice that was not selected
    is absent, and a label without a question is unknown. A question takes a single answer if all
    its labels exclude each other.

    Args:
        questions: the questions, in this order.
        labels: the choices' names and descriptions, by id.
        exclusive: sets of labels of which at most one is present in a photo.
    """
    view = ET.Element("View")
    ET.SubElement(view, "Image", name=PHOTO_TAG, value="$image")
    for question in questions:
        ET.SubElement(view, "Header", value=question.text)
        one = any(set(question.labels) <= set(labels_) for labels_ in exclusive)
        choices = ET.SubElement(
            view,
            "Choices",
            name=question.id,
            toName=PHOTO_TAG,
            choice="single-radio" if one else "multiple",
            required="true",
            requiredMessage=f"Please answer: {question.text}",
        )
        for id in question.labels:
            label = labels[id]
            ET.SubElement(choices, "Choice", value=label.name, alias=id, hint=label.description)
        ET.SubElement(choices, "Choice", value="None of these", alias=NONE_CHOICE)
    ET.indent(view)
    return ET.tostring(view, encoding="unicode") + "\n"


def label_studio_tasks(
    files: Sequence[str], image_url: str = LOCAL_FILES_URL
) -> list[dict[str, Any]]:
    """Return the project's tasks, one per photo.

    Args:
        files: photos, relative to the photo folder.
        image_url: the prefix that turns a file into its URL in Label Studio.
    """
    return [{"data": {"image": image_url + quote(file), "file": file}} for file in files]


class _ChoicesValue(BaseModel):
    choices: list[str]


class _ChoicesResult(BaseModel):
    type: Literal["choices"]
    from_name: str
    value: _ChoicesValue


def _reject_choices(type: str) -> str:
    if type == "choices":
        raise ValueError("choices without a list of choices")
    return type


class _OtherResult(BaseModel):
    type: Annotated[str, AfterValidator(_reject_choices)]


class _Annotation(BaseModel):
    id: int | str
    completed_by: int | dict[str, Any] | None = None
    was_cancelled: bool = False
    result: list[Annotated[_ChoicesResult | _OtherResult, Field(union_mode="left_to_right")]]

    @property
    def annotator(self) -> str:
        """The annotator's id; an anonymous annotation counts as a separate annotator."""
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
    """Read the votes of a project from its JSON export.

    An annotator who answered a question voted on each of its labels. Skipped tasks are ignored.
    If an annotator answered a question on a photo twice, the later answer in the file counts.

    Args:
        path: the export.
        photos: the folder that the tasks' files are relative to.
        questions: the questions of the project.
        names: the labels that may be voted on.

    Returns:
        One tally per photo and label with votes.

    Raises:
        DataError: the file is not a JSON export, a photo is missing, or a question or choice is
            unknown. The message names task and annotation.
    """
    by_id = {question.id: question for question in questions}
    folder = PhotoFolder(photos)
    answers: dict[tuple[str, str], dict[str, frozenset[str]]] = {}
    for task in _tasks(path):
        where = f"{path}: task {task.id}"
        file = task.data.get("file")
        if not isinstance(file, str):
            raise DataError(f"{where}, data.file: is missing; `mumic data tasks` writes it")
        file = folder.find(file, f"{where}, data.file")
        for annotation in task.annotations:
            if annotation.was_cancelled:
                continue
            place = f"{where}, annotation {annotation.id}"
            for question, chosen in _chosen(annotation, place, by_id, names):
                answers.setdefault((file, question), {})[annotation.annotator] = chosen
    if not answers:
        raise DataError(f"{path}: has no answer to a question")
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
        if not isinstance(result, _ChoicesResult):
            continue
        if result.from_name not in questions:
            known = ", ".join(questions)
            raise DataError(f"{where}: unknown question {result.from_name!r}; known: {known}")
        question = questions[result.from_name]
        chosen = frozenset(result.value.choices) - {NONE_CHOICE}
        for label in sorted(chosen):
            place = f"{where}, question {question.id}"
            check_name_known(label, place, names)
            if label not in question.labels:
                raise DataError(f"{place}: {label!r} is not one of its choices")
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
