"""The label set: which classes a model answers with, and the text that stands for each.

Section 3.1 of the MuMIC paper: each class has a name, a description and one category, and some
are parents of others. Section 5.3: the prompt takes the name or the description.
"""

from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from app.core.files import DUMPER, Problem, ProblemsError, load_yaml, unknown_name_message
from app.errors import LabelSetError, OptionError

__all__ = [
    "Label",
    "LabelSet",
    "Thresholds",
    "builtin_label_set",
    "dump_label_set",
    "load_label_set",
    "render",
]

PLACEHOLDER = "{}"


def _one_line(text: str) -> str:
    """Words with one space between them, as the tokenizer sees them; at least one word."""
    if line := " ".join(text.split()):
        return line
    raise ValueError("should not be empty")


LabelId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_]*$", max_length=64)]
Text = Annotated[str, AfterValidator(_one_line)]
Probability = Annotated[float, Field(ge=0, le=1, strict=True, allow_inf_nan=False)]
PositiveWeight = Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)]


def render(template: str, text: str) -> str:
    """Put a label's text into a template.

    Args:
        template: a text that holds "{}", e.g. "a photo with {}".
        text: the label's text; braces in it have no meaning.

    Returns:
        The prompt.

    Raises:
        OptionError: the template holds no "{}".
    """
    if PLACEHOLDER not in template:
        example = "a photo with {}"
        raise OptionError("template", f'must hold "{{}}", where the label goes, as in "{example}"')
    return template.replace(PLACEHOLDER, text)


class Thresholds(BaseModel):
    """The probabilities, each in [0, 1], from which a label counts.

    Attributes:
        serve: from here on an answer names the label.
        store: from here on a backfill keeps the label's probability.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    serve: Probability = 0.5
    store: Probability = 0.05


class Label(BaseModel):
    """One class.

    Attributes:
        id: stable name for programs, `[a-z0-9][a-z0-9_]*`, at most 64 characters.
        name: name for people, e.g. "Historical structure".
        description: the name and what it means, e.g. "historical structure, a building or ...".
        category: the one group that it belongs to.
        parents: ids of the classes that are present whenever this one is.
        prompt: which text stands for the class (section 5.3).
        positive_weight: p_j of equation 1, greater than 0.
        thresholds: from which probability on the class counts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: LabelId
    name: Text
    description: Text
    category: Text
    parents: tuple[LabelId, ...] = ()
    prompt: Literal["name", "description"] = "name"
    positive_weight: PositiveWeight = 10.0
    thresholds: Thresholds = Thresholds()

    @property
    def text(self) -> str:
        """What stands for the class in a prompt: the name in lower case, or the description."""
        return self.name.lower() if self.prompt == "name" else self.description


class LabelSet(BaseModel):
    """The classes of a model, in the order of its text embeddings.

    Ids and prompts are unique, parents are known and without cycles.

    Attributes:
        version: the label set's own version, shown to clients.
        template: the text around each label's, with "{}" where it goes, exactly once.
        labels: at least one class.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Text
    template: Text = "a photo with {}"
    labels: tuple[Label, ...]

    @field_validator("template")
    @classmethod
    def _has_one_place(cls, template: str) -> str:
        if template.count(PLACEHOLDER) != 1:
            raise ValueError(f'must hold "{{}}" exactly once, where the label goes; got {template}')
        return template

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        problems = ProblemsError(_inconsistencies(self))
        if problems.found:
            raise problems
        return self

    @property
    def ids(self) -> list[str]:
        """Every label's id, in order."""
        return [label.id for label in self.labels]

    @property
    def prompts(self) -> list[str]:
        """Every label's rendered prompt, in order: the texts to embed."""
        return [render(self.template, label.text) for label in self.labels]

    @property
    def categories(self) -> list[str]:
        """The categories, each once, in the order in which they first appear."""
        return list(dict.fromkeys(label.category for label in self.labels))

    def index(self, id: str) -> int:
        """The position of a label.

        Raises:
            ValueError: no label has this id.
        """
        ids = self.ids
        if id not in ids:
            raise ValueError(unknown_name_message("label", id, ids))
        return ids.index(id)

    def ancestors(self, id: str) -> list[str]:
        """The ids of a label's parents, their parents and so on, each once, nearest first.

        Raises:
            ValueError: no label has this id.
        """
        parents = {label.id: label.parents for label in self.labels}
        if id not in parents:
            raise ValueError(unknown_name_message("label", id, parents))
        found = list(dict.fromkeys(parents[id]))
        for ancestor in found:  # grows while it is walked
            found.extend(parent for parent in parents[ancestor] if parent not in found)
        return found


def _inconsistencies(label_set: LabelSet) -> Iterator[Problem]:
    if not label_set.labels:
        yield Problem(("labels",), "should not be empty")
    ids: dict[str, int] = {}
    prompts: dict[str, int] = {}
    for i, (label, prompt) in enumerate(zip(label_set.labels, label_set.prompts, strict=True)):
        first = ids.setdefault(label.id, i)
        if first != i:
            message = f"{label.id!r} is already the id of labels[{first}]"
            yield Problem(("labels", i, "id"), message, ("labels", first, "id"))
        # The tokenizer does not see case.
        first = prompts.setdefault(prompt.lower(), i)
        if first != i:
            message = f"has the same prompt as labels[{first}], {prompt!r}; change one's text"
            yield Problem(
                ("labels", i, label.prompt),
                message,
                ("labels", first, label_set.labels[first].prompt),
            )
    for i, label in enumerate(label_set.labels):
        for j, parent in enumerate(label.parents):
            if parent not in ids:
                yield Problem(
                    ("labels", i, "parents", j), unknown_name_message("label", parent, ids)
                )
    try:
        TopologicalSorter({label.id: label.parents for label in label_set.labels}).prepare()
    except CycleError as error:
        cycle = error.args[1][::-1]  # graphlib lists parents before children
        message = f"a label is its own ancestor: {' -> '.join(cycle)}; remove one of the parents"
        yield Problem(("labels", ids[cycle[0]], "parents"), message)


def load_label_set(path: Path) -> LabelSet:
    """Read a label set from a YAML file.

    Args:
        path: the file, UTF-8.

    Returns:
        The checked label set.

    Raises:
        LabelSetError: the file cannot be read or is not valid; a line for each problem, with the
            file's line.
    """
    return load_yaml(path, LabelSet, LabelSetError)


def dump_label_set(label_set: LabelSet, path: Path) -> None:
    """Write a label set as YAML for people to edit; it loads back equal.

    Every weight and threshold is written, parents where there are any.

    Args:
        label_set: what to write.
        path: the file; it is replaced when there.

    Raises:
        LabelSetError: the file cannot be written.
    """
    data = label_set.model_dump(mode="json")
    for label in data["labels"]:
        if not label["parents"]:
            del label["parents"]
    text = yaml.dump(
        data, Dumper=DUMPER, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100
    )
    try:
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise LabelSetError(f"{path}: cannot be written: {error.strerror}") from error


def builtin_label_set(name: str = "travel") -> LabelSet:
    """Read one of the label sets that come with MuMIC.

    Args:
        name: the label set's name; "travel" has 120 classes of a travel site in 8 categories.

    Returns:
        The label set.

    Raises:
        LabelSetError: no label set has this name.
    """
    files = {
        Path(file.name).stem: file
        for file in resources.files("app").joinpath("labelsets").iterdir()
    }
    if name not in files:
        raise LabelSetError(
            f"{unknown_name_message('label set', name, files)} (known: {', '.join(files)})"
        )
    with resources.as_file(files[name]) as path:
        return load_label_set(path)
