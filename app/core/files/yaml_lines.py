"""YAML files validated by a pydantic model, with file and line number in each error.

PyYAML composes the file to a tree of nodes with line numbers. One traversal converts the tree to
plain data and a table from location to line. pydantic validates the data, and the table gives the
line of each error. Validators of several fields raise `ProblemsError`.
"""

import reprlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from yaml.composer import ComposerError
from yaml.constructor import SafeConstructor
from yaml.reader import ReaderError

from app.core.files.nearest_name import unknown_name_message
from app.errors import FileError

Location = tuple[str | int, ...]
ModelT = TypeVar("ModelT", bound=BaseModel)

MAX_REPORTED = 20
MAX_DEPTH = 32
# libyaml's loader and dumper are about ten times as fast. Every wheel of PyYAML includes them, but
# not every build from source.
LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DUMPER: type[yaml.SafeDumper] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
COLLECTION_TAGS = {"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}


class Problem(NamedTuple):
    """One validation error.

    Attributes:
        location: keys and indices from the root to the value, e.g. ("labels", 6, "id").
        message: the error and its remedy.
        other: a second location that the message refers to; its line is reported too.
    """

    location: Location
    message: str
    other: Location | None = None


class ProblemsError(ValueError):
    """Raised by a validator of a model for problems at locations relative to the model.

    Args:
        found: the problems; only as many as can be reported are kept.
    """

    def __init__(self, found: Iterable[Problem]) -> None:
        self.found = list(islice(found, MAX_REPORTED + 1))
        super().__init__("\n".join(_at(p.location, p.message) for p in self.found))


def load_yaml(
    path: Path, model: type[ModelT], error: type[FileError], context: object = None
) -> ModelT:
    """Read a YAML file and validate it with a model.

    Args:
        path: a UTF-8 file with one YAML document, without aliases.
        model: the model of the document.
        error: the type of error to raise.
        context: `info.context` for the validators of the model.

    Returns:
        The validated document.

    Raises:
        FileError: of the type `error`, with one line `FILE:LINE: LOCATION: MESSAGE` for each of the
            first `MAX_REPORTED` problems.
    """
    reader = _NodeReader()
    data = reader.value(_compose(path, error), ())
    if reader.problems:
        raise error(_report(path, reader.problems))
    try:
        return model.model_validate(data, context=context)
    except ValidationError as invalid:
        raise error(_report(path, _placed(invalid, model, reader.lines))) from None


def _compose(path: Path, error: type[FileError]) -> yaml.Node:
    try:
        content = path.read_bytes()
    except OSError as failure:
        raise error(f"{path}: cannot be read: {failure.strerror}") from failure
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as failure:
        line = content.count(b"\n", 0, failure.start) + 1
        raise error(f"{path}:{line}: is not UTF-8; save the file in that encoding") from failure
    try:
        _refuse_expansion(text)
        node = yaml.compose(text, Loader=LOADER)
    except yaml.MarkedYAMLError as failure:
        mark = failure.problem_mark or failure.context_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        detail = ": ".join(filter(None, (failure.context, failure.problem)))
        raise error(f"{path}{place}: cannot be read as YAML: {detail}") from failure
    except ReaderError as failure:
        line = content.count(b"\n", 0, failure.position) + 1
        raise error(f"{path}:{line}: cannot be read as YAML: {failure.reason}") from failure
    if node is None:
        raise error(f"{path}:1: is empty")
    return node


def _refuse_expansion(text: str) -> None:
    """Reject aliases and deep nesting, which could exhaust memory or the stack."""
    depth = 0
    for event in yaml.parse(text, Loader=LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            problem = "it is nested too deeply"
        elif isinstance(event, yaml.AliasEvent):
            problem = f"*{event.anchor} is an alias; write the value out"
        else:
            continue
        raise ComposerError(None, None, problem, cast(yaml.Mark, event.start_mark))


class _NodeReader:
    """Converts a node tree to plain data and records the line of each value."""

    def __init__(self) -> None:
        self.lines: dict[Location, int] = {}
        self.problems: list[tuple[int, str]] = []
        self._constructor = SafeConstructor()

    def value(self, node: yaml.Node, location: Location) -> object:
        self.lines.setdefault(location, _line(node))
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, location)
        if node.tag not in COLLECTION_TAGS:
            self._refuse(node, location, f"has the tag {node.tag}; remove it")
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*location, i)) for i, item in enumerate(node.value)]
        return self._mapping(node, location)

    def _scalar(self, node: yaml.ScalarNode, location: Location) -> object:
        try:
            return self._constructor.construct_object(node)
        except (yaml.YAMLError, ValueError) as failure:
            self._refuse(node, location, str(getattr(failure, "problem", failure)))
            return None

    def _mapping(self, node: yaml.Node, location: Location) -> dict[str, object]:
        mapping: dict[str, object] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._refuse(key_node, location, "has a key that is not plain text")
                continue
            # Keys such as `no` and `1` remain text as written.
            key = key_node.value
            place = (*location, key)
            if key in mapping:
                first = f"is given twice, first on line {self.lines[place]}; keep one"
                self._refuse(key_node, place, first)
                continue
            self.lines[place] = _line(key_node)
            mapping[key] = self.value(value_node, place)
        return mapping

    def _refuse(self, node: yaml.Node, location: Location, message: str) -> None:
        self.problems.append((_line(node), _at(location, message)))


def _placed(
    invalid: ValidationError, model: type[BaseModel], lines: dict[Location, int]
) -> Iterator[tuple[int, str]]:
    """Add to each problem its line, or that of the closest enclosing value."""

    def line(location: Location) -> int:
        return next(
            lines[location[:end]] for end in range(len(location), -1, -1) if location[:end] in lines
        )

    for details in invalid.errors():
        for location, message, other in _problems(details, model):
            also = f" (line {line(other)})" if other is not None else ""
            yield line(location), f"{_at(location, message)}{also}"


def _problems(details: ErrorDetails, model: type[BaseModel]) -> Iterator[Problem]:
    location = details["loc"]
    raised = details.get("ctx", {}).get("error")
    if isinstance(raised, ProblemsError):
        for problem in raised.found:
            other = None if problem.other is None else (*location, *problem.other)
            yield Problem((*location, *problem.location), problem.message, other)
    else:
        yield Problem(location, str(raised) if raised else _explain(details, model))


def _explain(details: ErrorDetails, model: type[BaseModel]) -> str:
    location, got = details["loc"], reprlib.repr(details["input"])
    match details["type"]:
        case "missing":
            message = "field required"
        case "extra_forbidden":
            message = unknown_name_message("key", str(location[-1]), _keys(model, location[:-1]))
        case "model_type":
            message = f"should be a mapping of {', '.join(_keys(model, location))}; got {got}"
        case "string_type":
            message = f"should be text; got {got} (put it in quotes to make it text)"
        case "tuple_type":
            message = f"should be a list; got {got}"
        case _:
            message = f"{details['msg'][0].lower()}{details['msg'][1:]}; got {got}"
    return message


def _keys(kind: Any, location: Location) -> Sequence[str]:
    """Return the keys of the model at a location below `kind`."""
    for part in location:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            kind = kind.model_fields[str(part)].annotation
        else:  # tuple[Item, ...] or dict[str, Item]
            kind = next(arg for arg in get_args(kind)[::-1] if arg is not Ellipsis)
    return list(kind.model_fields)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _at(location: Location, message: str) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    where = "".join(parts).removeprefix(".")
    return f"{where}: {message}" if where else message


def _report(path: Path, problems: Iterable[tuple[int, str]]) -> str:
    found = list(islice(problems, MAX_REPORTED + 1))
    lines = [f"{path}:{line}: {message}" for line, message in found[:MAX_REPORTED]]
    if len(found) > MAX_REPORTED:
        lines.append(f"{path}: and more")
    return "\n".join(lines)
