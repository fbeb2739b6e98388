"""Groups labels into questions of four to six choices (section 3.2).

Labels that exclude each other share a question, hard labels are in different questions, and a
question covers one category of the label set. People can edit the resulting YAML file.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from app.core.files import DUMPER, Location, Problem, ProblemsError, load_yaml, unknown_name_message
from app.core.labels import LabelId, LabelSet, Text
from app.errors import DataError

MIN_CHOICES, MAX_CHOICES = 4, 6
PREFERRED_CHOICES = 5
# The cost of a question, most important term first: missing choices, a divided exclusive set,
# hard labels beyond the first, categories beyond the first, squared distance from the best size.
Cost = tuple[int, int, int, int, int]
ZERO_COST: Cost = (0, 0, 0, 0, 0)


class Question(BaseModel):
    """One question about a photo; any number of its labels may be present.

    Attributes:
        id: its stable id.
        text: the heading above the choices.
        labels: ids of the choices.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: LabelId
    text: Text
    labels: Annotated[tuple[str, ...], Field(min_length=1)]


class Questionnaire(BaseModel):
    """The content of a questions file.

    Attributes:
        exclusive: sets of labels of which at most one is present in a photo.
        hard: labels that annotators find difficult.
        questions: the questions; empty if they are still to be made.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    exclusive: tuple[tuple[str, ...], ...] = ()
    hard: tuple[str, ...] = ()
    questions: tuple[Question, ...] = ()

    @model_validator(mode="after")
    def _is_consistent(self, info: ValidationInfo[Collection[str] | None]) -> Self:
        problems = ProblemsError(_inconsistencies(self, info.context))
        if problems.found:
            raise problems
        return self


def load_questionnaire(path: Path, names: Collection[str]) -> Questionnaire:
    """Read a questions file.

    Args:
        path: YAML with the optional keys `exclusive`, `hard` and `questions`.
        names: the known labels.

    Raises:
        DataError: the file cannot be read or is not valid. The message has one line per problem,
            with the line in the file.
    """
    return load_yaml(path, Questionnaire, DataError, context=names)


def dump_questionnaire(questionnaire: Questionnaire, path: Path) -> None:
    """Write a questions file that people can edit and that loads back equal.

    Raises:
        DataError: the file cannot be written.
    """
    text = yaml.dump(
        questionnaire.model_dump(mode="json"),
        Dumper=DUMPER,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None,
        width=100,
    )
    try:
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error}") from error


def make_questions(
    label_set: LabelSet, exclusive: Sequence[Sequence[str]], hard: Collection[str]
) -> tuple[Question, ...]:
    """Group the labels of a label set into questions, each label in exactly one.

    The labels are sorted by category, and the sequence is cut into questions at the least total
    cost. Questions have four to six choices if the number of labels permits, and never more.

    Args:
        label_set: the labels and their categories.
        exclusive: sets of labels of which at most one is present in a photo; no label is in two.
        hard: labels that annotators find difficult.
    """
    set_of = {label: i for i, labels in enumerate(exclusive) for label in labels}
    category_of = {label.id: label.category for label in label_set.labels}
    order = [
        label
        for category in label_set.categories
        for label in _order_category(category, category_of, set_of, set(hard))
    ]
    questions = []
    used: dict[str, int] = {}
    for start, end in _cheapest_cuts(order, category_of, set_of, set(hard)):
        labels = tuple(order[start:end])
        category = category_of[labels[0]]
        stem = re.sub(r"[^a-z0-9]+", "_", category.lower()).strip("_")[:48] or "question"
        used[stem] = used.get(stem, 0) + 1
        text = f"{category}: what of this do you see?"
        questions.append(Question(id=f"{stem}_{used[stem]}", text=text, labels=labels))
    return tuple(questions)


def question_warnings(questionnaire: Questionnaire) -> list[str]:
    """Return a warning for each departure from the recommended form; the questions stay valid."""
    found = []
    for question in questionnaire.questions:
        size = len(question.labels)
        if not MIN_CHOICES <= size <= MAX_CHOICES:
            found.append(f"{question.id} has {size} choices, not {MIN_CHOICES} to {MAX_CHOICES}")
        if len(hard := sorted(set(question.labels) & set(questionnaire.hard))) > 1:
            found.append(f"{question.id} has several hard labels: {', '.join(hard)}")
    asked_in = {label: q.id for q in questionnaire.questions for label in q.labels}
    for labels in questionnaire.exclusive:
        if len({asked_in[label] for label in labels if label in asked_in}) > 1:
            found.append(f"exclusive labels are in different questions: {', '.join(labels)}")
    return found


def _order_category(
    category: str, category_of: Mapping[str, str], set_of: Mapping[str, int], hard: set[str]
) -> list[str]:
    """Order a category's labels: exclusive sets stay together, hard labels are spread evenly.

    An exclusive set belongs to the category of its first label in the label set.
    """
    blocks: dict[object, list[str]] = {}
    home: dict[object, str] = {}
    for label, own in category_of.items():
        key = set_of.get(label, label)
        blocks.setdefault(key, []).append(label)
        home.setdefault(key, own)
    mine = [block for key, block in blocks.items() if home[key] == category]
    easy = [block for block in mine if not hard & set(block)]
    difficult = [block for block in mine if hard & set(block)]
    places = [(i + 0.5) / len(easy) for i in range(len(easy))]
    places += [(i + 0.5) / len(difficult) for i in range(len(difficult))]
    spread = sorted(zip(places, [*easy, *difficult], strict=True), key=lambda pair: pair[0])
    return [label for _, block in spread for label in block]


def _cheapest_cuts(
    order: Sequence[str],
    category_of: Mapping[str, str],
    set_of: Mapping[str, int],
    hard: set[str],
) -> list[tuple[int, int]]:
    """Return the cheapest cuts into runs of at most `MAX_CHOICES`, by dynamic programming."""

    def cost(start: int, end: int) -> Cost:
        run = order[start:end]
        divided = end < len(order) and set_of.get(run[-1], -1) == set_of.get(order[end], -2)
        return (
            max(0, MIN_CHOICES - len(run)),
            int(divided),
            max(0, len(hard & set(run)) - 1),
            len({category_of[label] for label in run}) - 1,
            (len(run) - PREFERRED_CHOICES) ** 2,
        )

    best: list[tuple[Cost, int]] = [(ZERO_COST, 0)]
    for end in range(1, len(order) + 1):
        starts = range(max(0, end - MAX_CHOICES), end)
        best.append(min((_add_costs(best[start][0], cost(start, end)), start) for start in starts))
    cuts = []
    end = len(order)
    while end:
        cuts.append((best[end][1], end))
        end = best[end][1]
    return cuts[::-1]


def _add_costs(first: Cost, second: Cost) -> Cost:
    a, b, c, d, e = (x + y for x, y in zip(first, second, strict=True))
    return a, b, c, d, e


def _inconsistencies(
    questionnaire: Questionnaire, names: Collection[str] | None
) -> Iterator[Problem]:
    exclusive, hard, questions = (
        questionnaire.exclusive,
        questionnaire.hard,
        questionnaire.questions,
    )
    places: list[list[tuple[Location, str]]] = [
        [(("exclusive", i, j), id) for i, ids in enumerate(exclusive) for j, id in enumerate(ids)],
        [(("hard", i), id) for i, id in enumerate(hard)],
        [
            (("questions", i, "labels", j), id)
            for i, question in enumerate(questions)
            for j, id in enumerate(question.labels)
        ],
    ]
    for found in places:
        first: dict[str, Location] = {}
        for place, label in found:
            if names is not None and label not in names:
                yield Problem(place, unknown_name_message("label", label, names))
            elif label in first:
                yield Problem(place, f"{label!r} occurs twice; keep one", first[label])
            first.setdefault(label, place)
    positions: dict[str, int] = {}
    for i, question in enumerate(questions):
        if positions.setdefault(question.id, i) != i:
            message = f"{question.id!r} is already the id of another question"
            yield Problem(
                ("questions", i, "id"), message, ("questions", positions[question.id], "id")
            )
