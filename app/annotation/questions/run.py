"""Runs `mumic data tasks`: writes a Label Studio project."""

from rich.console import Console

from app.annotation.questions.label_studio import (
    PROJECT_FILES,
    label_studio_config,
    label_studio_tasks,
    write_label_studio_project,
)
from app.annotation.questions.questions import (
    Questionnaire,
    dump_questionnaire,
    load_questionnaire,
    make_questions,
    question_warnings,
)
from app.annotation.requests import TasksRequest
from app.core.labels import builtin_label_set, load_label_set
from app.dataset.manifest import PhotoFolder, read_table
from app.errors import DataError, OptionError


def run_tasks(request: TasksRequest, console: Console) -> None:
    """Group the labels into questions and write a Label Studio project with them.

    Args:
        request: the photos, the labels and the project's folder.
        console: receives notes.

    Raises:
        OptionError: the folder holds another project, or edited questions would be lost.
        DataError: a file is not valid or cannot be written.
        LabelSetError: the label set is not valid.
    """
    labels = load_label_set(request.labels) if request.labels else builtin_label_set()
    edited = request.out / "questions.yaml"
    if not edited.exists() and any((request.out / name).exists() for name in PROJECT_FILES):
        raise OptionError("out", f"{request.out} holds another project: choose another folder")
    if request.questions is None and edited.exists():
        raise OptionError(
            "questions", f"{edited} exists: use it with --questions {edited}, or delete it"
        )
    questionnaire = Questionnaire()
    if request.questions:
        questionnaire = load_questionnaire(request.questions, labels.ids)
    new = not questionnaire.questions
    if new:
        questions = make_questions(labels, questionnaire.exclusive, questionnaire.hard)
        questionnaire = questionnaire.model_copy(update={"questions": questions})
    column = request.file_column
    folder = PhotoFolder(request.photos)
    candidates = read_table(request.candidates, (column,), options={column: "--file-column"})
    files = list(
        dict.fromkeys(folder.find(row[column], row.location(column)) for row in candidates)
    )
    by_id = {label.id: label for label in labels.labels}
    if not files:
        raise DataError(f"{request.candidates}: has a header but no rows; a row is a photo")
    config = label_studio_config(questionnaire.questions, by_id, questionnaire.exclusive)
    write_label_studio_project(request.out, config, label_studio_tasks(files, request.image_url))
    if new:
        dump_questionnaire(questionnaire, edited)
    for warning in question_warnings(questionnaire):
        console.print(f"[yellow]note:[/] {warning}")
    console.print(
        f"wrote {request.out}: {len(files)} tasks of {len(questionnaire.questions)} questions",
        markup=False,
    )
