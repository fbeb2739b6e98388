"""The label set: the classes of a model and their prompts.

Section 3.1 of the MuMIC paper: each class has a name, a description and one category, and some
classes are parents of others. Section 5.3: the prompt contains the name or the description.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from graphlib import CycleError, TopologicalSorter
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
import yaml
from numpy.typing import NDArray
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
from app.core.labels.calibration import IDENTITY, Calibration, map_threshold
from app.core.labels.tokenization import tokenizer_words
from app.errors import LabelSetError, OptionError

__all__ = [
    "Added",
    "Evidence",
    "Label",
    "LabelSet",
    "ThresholdKind",
    "Thresholds",
    "builtin_label_set",
    "dump_label_set",
    "load_label_set",
    "render",
]

PLACEHOLDER = "{}"


def _one_line(text: str) -> str:
    """Collapse white space, as the tokenizer does; the text must contain a word."""
    if line := " ".join(text.split()):
        return line
    raise ValueError("should not be empty")


LabelId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_]*$", max_length=64)]
Text = Annotated[str, AfterValidator(_one_line)]
Probability = Annotated[float, Field(ge=0, le=1, strict=True, allow_inf_nan=False)]
PositiveWeight = Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)]
Evidence = Literal["human", "pseudo", "none"]
ThresholdKind = Literal["best_f1", "precision", "recall", "fallback", "manual"]


def render(template: str, text: str) -> str:
    """Put a label's text into a template.

    Args:
        template: a text with "{}", e.g. "a photo with {}".
        text: the label's text; braces in it have no special meaning.

    Returns:
        The prompt.

    Raises:
        OptionError: the template has no "{}".
    """
    if PLACEHOLDER not in template:
        example = "a photo with {}"
        raise OptionError(
            "template", f'must contain "{{}}", the placeholder of the label, as in "{example}"'
        )
    return template.replace(PLACEHOLDER, text)


class Thresholds(BaseModel):
    """The lowest probabilities, each in [0, 1], at which a label is used.

    Attributes:
        serve: threshold for a label in a response; None if the label is not served by default.
        store: threshold for a probability that a backfill stores.
        kind: how `serve` was chosen: best_f1, precision or recall, fitted to labelled photos for
            that figure; fallback, a guess without them; manual, by a person. None if that is not
            stated.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    serve: Probability | None = 0.5
    store: Probability = 0.05
    kind: ThresholdKind | None = None


class Added(BaseModel):
    """How a label was added to a checkpoint after its training.

    Attributes:
        at: when, in UTC.
        by: who added it, free text; empty if that is not stated.
        examples: number of example photos that its class embedding was fitted to; 0 if the label is
            scored by its prompt.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: datetime
    by: str = ""
    examples: Annotated[int, Field(ge=0, strict=True)] = 0


class Label(BaseModel):
    """One class.

    Attributes:
        id: stable identifier, `[a-z0-9][a-z0-9_]*`, at most 64 characters.
        name: display name, e.g. "Historical structure".
        description: name and meaning, e.g. "historical structure, a building or ...".
        category: its category.
        parents: ids of the classes that are present whenever this class is.
        prompt: the text in the prompt, name or description (section 5.3).
        positive_weight: p_j of equation 1, greater than 0.
        thresholds: its thresholds.
        evidence: what it was measured on: human, the judgements of people; pseudo, the targets of a
            teacher (another model); none, nothing, so that its scores rest on its text alone. None
            if that is not stated.
        calibration: of its probabilities; its thresholds are of calibrated ones.
        added: how it was added at run time; None for a label of the original label set.
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
    evidence: Evidence | None = None
    calibration: Calibration = IDENTITY
    added: Added | None = None

    @property
    def text(self) -> str:
        """The text in the prompt: the name in lower case, or the description."""
        return self.name.lower() if self.prompt == "name" else self.description

    @property
    def is_fitted(self) -> bool:
        """Whether it has a class embedding of its own instead of that of its prompt."""
        return self.added is not None and self.added.examples > 0

    def recalibrated(self, calibration: Calibration) -> Self:
        """Return the label with another calibration, and thresholds that the same photos pass."""
        thresholds = {
            name: value if value is None else map_threshold(value, self.calibration, calibration)
            for name, value in (("serve", self.thresholds.serve), ("store", self.thresholds.store))
        }
        return self.model_copy(
            update={
                "calibration": calibration,
                "thresholds": self.thresholds.model_copy(update=thresholds),
            }
        )

    def unmeasured(self) -> Self:
        """Return the label for another model or text, on whose scores nothing was measured.

        It has no calibration and no class embedding, and states neither the evidence nor the kind
        of its thresholds. These stay at the same logits, until they are fitted again.
        """
        label = self.recalibrated(IDENTITY)
        thresholds = label.thresholds.model_copy(update={"kind": None})
        added = self.added and self.added.model_copy(update={"examples": 0})
        return label.model_copy(update={"thresholds": thresholds, "evidence": None, "added": added})


class LabelSet(BaseModel):
    """The classes of a model, in the order of its text embeddings.

    Ids and prompts are unique. All parents exist and form no cycle.

    Attributes:
        version: of the label set, shown to clients.
        template: the prompt template, with the placeholder "{}" exactly once.
        labels: at least one class.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Text
    template: Text = "a photo with {}"
    labels: tuple[Label, ...]

    @field_validator("template")
    @classmethod
    def _has_one_placeholder(cls, template: str) -> str:
        if template.count(PLACEHOLDER) != 1:
            raise ValueError(f'must contain the placeholder "{{}}" exactly once; got {template}')
        return template

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        problems = ProblemsError(_inconsistencies(self))
        if problems.found:
            raise problems
        return self

    @property
    def ids(self) -> list[str]:
        """The id of each label, in order."""
        return [label.id for label in self.labels]

    @property
    def prompts(self) -> list[str]:
        """The rendered prompt of each label, in order."""
        return [render(self.template, label.text) for label in self.labels]

    @property
    def fitted_ids(self) -> list[str]:
        """The ids of the labels that have a class embedding of their own, in order."""
        return [label.id for label in self.labels if label.is_fitted]

    @property
    def categories(self) -> list[str]:
        """The distinct categories, in order of first appearance."""
        return list(dict.fromkeys(label.category for label in self.labels))

    @property
    def serve_thresholds(self) -> NDArray[np.float32]:
        """(C,) `serve` thresholds, in float32 like the probabilities that are compared with them.

        Infinity, which no probability reaches, for a label that is not served by default.
        """
        serve = (label.thresholds.serve for label in self.labels)
        return np.array([np.inf if each is None else each for each in serve], np.float32)

    def calibration_of(
        self, texts: Sequence[str]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the calibration of rendered texts, as factors and summands of their logits.

        Args:
            texts: T texts. One that the tokenizer reads as the prompt of a label has the
                calibration of that label; any other text has none.

        Returns:
            (T,) scales and (T,) offsets.
        """
        of_prompt = {
            tokenizer_words(prompt): label.calibration
            for label, prompt in zip(self.labels, self.prompts, strict=True)
        }
        found = [of_prompt.get(tokenizer_words(text), IDENTITY) for text in texts]
        scales = np.array([each.scale for each in found], np.float32)
        return scales, np.array([each.offset for each in found], np.float32)

    def recalibrated(self, calibrations: Sequence[Calibration]) -> Self:
        """Return the label set with C other calibrations, and thresholds for the same decisions."""
        labels = [
            label.recalibrated(calibration)
            for label, calibration in zip(self.labels, calibrations, strict=True)
        ]
        return self.model_copy(update={"labels": tuple(labels)})

    def uncalibrated(self) -> Self:
        """Return the label set without calibration, and thresholds for the same decisions."""
        return self.recalibrated([IDENTITY] * len(self.labels))

    def unmeasured(self) -> Self:
        """Return the label set for another model, on whose scores nothing was measured."""
        return self.model_copy(update={"labels": tuple(each.unmeasured() for each in self.labels)})

    def index(self, id: str) -> int:
        """Return the position of a label.

        Raises:
            ValueError: no label has this id.
        """
        ids = self.ids
        if id not in ids:
            raise ValueError(unknown_name_message("label", id, ids))
        return ids.index(id)

    def ancestors(self, id: str) -> list[str]:
        """Return the distinct ids of a label's parents, their parents and so on, nearest first.

        Raises:
            ValueError: no label has this id.
        """
        parents = {label.id: label.parents for label in self.labels}
        if id not in parents:
            raise ValueError(unknown_name_message("label", id, parents))
        found = list(dict.fromkeys(parents[id]))
        for ancestor in found:  # the list grows during the iteration
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
        first = prompts.setdefault(tokenizer_words(prompt), i)
        if first != i:
            other = label_set.prompts[first]
            message = f"has the same prompt as labels[{first}], {prompt!r}; change one's text"
            if prompt != other:
                message = (
                    f"its prompt {prompt!r} is the same text to the tokenizer as {other!r} of "
                    f"labels[{first}]; change one of them"
                )
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
        The validated label set.

    Raises:
        LabelSetError: the file cannot be read or is invalid; one line per problem, with the line
            number in the file.
    """
    return load_yaml(path, LabelSet, LabelSetError)


def dump_label_set(label_set: LabelSet, path: Path) -> None:
    """Write a label set as YAML that people can edit and `load_label_set` reads back equal.

    Weights and thresholds are always written, parents only if there are any; evidence, the kind
    of the thresholds, the calibration and how a label was added only if they are stated.

    Args:
        label_set: the label set.
        path: the file; an existing file is replaced.

    Raises:
        LabelSetError: the file cannot be written.
    """
    data = label_set.model_dump(mode="json")
    for label in data["labels"]:
        if not label["parents"]:
            del label["parents"]
        if label["evidence"] is None:
            del label["evidence"]
        if label["thresholds"]["kind"] is None:
            del label["thresholds"]["kind"]
        if label["calibration"] == IDENTITY.model_dump():
            del label["calibration"]
        if label["added"] is None:
            del label["added"]
    text = yaml.dump(
        data, Dumper=DUMPER, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100
    )
    try:
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise LabelSetError(f"{path}: cannot be written: {error.strerror}") from error


def builtin_label_set(name: str = "travel") -> LabelSet:
    """Read one of the label sets included in MuMIC.

    Args:
        name: its name; "travel" has 120 classes of a travel site in 8 categories.

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
