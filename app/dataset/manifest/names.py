"""What the names that people gave to photos mean in a label set."""

from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationInfo, model_validator

from app.core.files import Problem, ProblemsError, load_yaml, unknown
from app.core.labels import LabelSet, Text
from app.errors import DataError


class Name(BaseModel):
    """One human-labelled name of a photo set.

    Attributes:
        text: the plain English name, trained and scored as a text of its own.
        label: id of the label that means the same, or None.
        implies: ids of labels that are present whenever the name is; where the name is absent,
            nothing is known about them.
        source: whose photos were annotated for the name; on other photos it is unknown, not
            absent. None: on all photos.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: Text
    label: Text | None
    implies: tuple[Text, ...] = ()
    source: Text | None = None


class _NamesFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    names: dict[str, Name]

    @model_validator(mode="after")
    def _labels_are_known(self, info: ValidationInfo[LabelSet]) -> Self:
        problems = ProblemsError(_problems(self.names, frozenset(info.context.ids)))
        if problems.found:
            raise problems
        return self


def _problems(names: Mapping[str, Name], ids: Set[str]) -> Iterator[Problem]:
    if not names:
        yield Problem(("names",), "should not be empty")
    for key, name in names.items():
        if name.label is not None and name.label not in ids:
            yield Problem(("names", key, "label"), unknown("label", name.label, ids))
        for i, implied in enumerate(name.implies):
            if implied not in ids:
                yield Problem(("names", key, "implies", i), unknown("label", implied, ids))


def load_names(path: Path, label_set: LabelSet) -> dict[str, Name]:
    """Read what each human-labelled name means.

    Args:
        path: a YAML file, a mapping `names` of each name to its `text`, `label`, `implies` and
            `source`.
        label_set: where the label ids must be found.

    Returns:
        The names, in the file's order.

    Raises:
        DataError: the file cannot be read, is not valid or speaks of labels that the label set
            does not have; a line for each problem, with the file's line.
    """
    return load_yaml(path, _NamesFile, DataError, context=label_set).names


def names_of(label_set: LabelSet) -> dict[str, Name]:
    """The names of photos that were annotated with the label set's own ids."""
    return {label.id: Name(text=label.text, label=label.id) for label in label_set.labels}


def labels_of(name: Name, label_set: LabelSet) -> set[str]:
    """Ids of the labels that are present whenever a name is: its own, implied, and all above."""
    present = {*([name.label] if name.label else []), *name.implies}
    return present | {above for label in present for above in label_set.ancestors(label)}
