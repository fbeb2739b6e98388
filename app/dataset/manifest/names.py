"""Names file: maps the names that people gave to photos to texts and labels."""

from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo, model_validator

from app.core.files import Problem, ProblemsError, load_yaml, unknown_name_message
from app.core.labels import LabelSet, Text
from app.dataset.manifest.tables import normal_name
from app.errors import DataError


class NameDefinition(BaseModel):
    """The meaning of one name that people gave to photos.

    Attributes:
        text: the plain English name, trained and scored as a text of its own.
        label: id of the label with the same meaning, or None.
        implies: ids of labels that are present where the name is; where the name is absent, they
            are unknown.
        source: the photo collection that was annotated for the name; the name is unknown on other
            photos. None: all photos were annotated for it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: Text
    label: Text | None
    implies: tuple[Text, ...] = ()
    source: Text | None = None


class _NamesFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    names: dict[Annotated[str, AfterValidator(normal_name)], NameDefinition]

    @model_validator(mode="after")
    def _labels_are_known(self, info: ValidationInfo[LabelSet]) -> Self:
        problems = ProblemsError(_problems(self.names, frozenset(info.context.ids)))
        if problems.found:
            raise problems
        return self


def _problems(names: Mapping[str, NameDefinition], ids: Set[str]) -> Iterator[Problem]:
    if not names:
        yield Problem(("names",), "should not be empty")
    for key, name in names.items():
        if name.label is not None and name.label not in ids:
            yield Problem(("names", key, "label"), unknown_name_message("label", name.label, ids))
        for i, implied in enumerate(name.implies):
            if implied not in ids:
                yield Problem(
                    ("names", key, "implies", i), unknown_name_message("label", implied, ids)
                )


def load_names(path: Path, label_set: LabelSet) -> dict[str, NameDefinition]:
    """Read a names file.

    Args:
        path: a YAML file with a mapping `names` from each name to its `text`, `label`, `implies`
            and `source`.
        label_set: the label set that must contain the label ids.

    Returns:
        Name to definition, in the file's order.

    Raises:
        DataError: the file cannot be read or is not valid, or a label is not in the label set.
            The message has one line per problem, with the line in the file.
    """
    return load_yaml(path, _NamesFile, DataError, context=label_set).names


def names_from_labels(label_set: LabelSet) -> dict[str, NameDefinition]:
    """Return the definitions for photos that were annotated with the label set's own ids."""
    return {label.id: NameDefinition(text=label.text, label=label.id) for label in label_set.labels}


def labels_implied_by(name: NameDefinition, label_set: LabelSet) -> set[str]:
    """Return the ids of its own label, the labels that it implies, and their ancestors."""
    present = {*([name.label] if name.label else []), *name.implies}
    return present | {parent for label in present for parent in label_set.ancestors(label)}
