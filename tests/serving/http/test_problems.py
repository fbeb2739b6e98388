"""The exception tree matches its docstring, is fully used and maps to problems."""

import ast
import inspect
import re

import pytest

from app import errors
from app.errors import (
    BodyError,
    DiskError,
    ImageError,
    InputError,
    MumicError,
    OptionError,
    OverloadedError,
    ServiceError,
    UnusableImagesError,
)
from app.serving.http.problems import PROBLEM_KINDS
from tests.support.imports import modules

CLASSES = {
    name: found
    for name, found in inspect.getmembers(errors, inspect.isclass)
    if found.__module__ == errors.__name__
}
LEAVES = {found for found in CLASSES.values() if not found.__subclasses__()}


def drawn_parents() -> dict[str, str]:
    """Return the docstring's tree as child -> parent."""
    parents: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if drawn := re.match(r"    ([│ ]*)([├└]── )?(\w+Error)\b", line):
            depth = 0 if drawn[2] is None else len(drawn[1]) // 4 + 1
            path[depth:] = [drawn[3]]
            if depth:
                parents[drawn[3]] = path[depth - 1]
    return parents


def test_docstring_tree_matches_classes() -> None:
    real = {
        name: found.__base__.__name__
        for name, found in CLASSES.items()
        if found is not MumicError and found.__base__ is not None
    }
    assert drawn_parents() == real
    assert list(drawn_parents()) == list(
        re.findall(r"^class (\w+)\(", inspect.getsource(errors), re.MULTILINE)[1:]
    )


def test_every_request_error_has_problem_kind() -> None:
    answered_in_place = {ImageError}
    met = {leaf for leaf in LEAVES if issubclass(leaf, InputError | ServiceError)} | {DiskError}
    assert met - answered_in_place == PROBLEM_KINDS.keys()


def test_codes_are_unique_and_statuses_match_class() -> None:
    codes = [kind.code for kind in PROBLEM_KINDS.values()]
    assert len(set(codes)) == len(codes)
    for error, kind in PROBLEM_KINDS.items():
        wanted = 4 if issubclass(error, InputError | OverloadedError) else 5
        assert kind.status // 100 == wanted, error


@pytest.mark.parametrize("leaf", sorted(leaf.__name__ for leaf in LEAVES))
def test_every_error_class_is_raised(leaf: str) -> None:
    used = {
        node.id
        for module, tree in modules().items()
        if module != "app.errors"
        for statement in ast.walk(tree)
        if isinstance(statement, ast.Call | ast.Raise)
        for node in ast.walk(statement)
        if isinstance(node, ast.Name)
    }
    assert leaf in used, f"{leaf} is raised nowhere"


def test_only_leaf_errors_are_raised() -> None:
    branches = CLASSES.keys() - {leaf.__name__ for leaf in LEAVES}
    raised = {
        (module, statement.exc.func.id)
        for module, tree in modules().items()
        for statement in ast.walk(tree)
        if isinstance(statement, ast.Raise)
        and isinstance(statement.exc, ast.Call)
        and isinstance(statement.exc.func, ast.Name)
    }
    assert not [pair for pair in raised if pair[1] in branches]


def test_error_messages_name_cause() -> None:
    image = ImageError("empty", "the image has no bytes")
    assert (str(image), image.code) == ("the image has no bytes", "empty")
    assert str(OptionError("template", "must hold {}")) == "template: must hold {}"
    assert OverloadedError("the queue is full", 2).retry_after_s == 2
    none = UnusableImagesError([("a.jpg", image), ("b.jpg", image)])
    assert str(none) == "image 'a.jpg': the image has no bytes (1 more cannot be used)"
    assert not issubclass(UnusableImagesError, BodyError)
