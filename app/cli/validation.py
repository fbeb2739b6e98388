"""Words for values that pydantic refuses: what would be right, what was given."""

from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo

KINDS = {int: ("an integer", "integers"), float: ("a number", "numbers"), str: ("a text", "texts")}


def describe_first_error(error: ValidationError, model: type[BaseModel]) -> tuple[str, str]:
    """Describe the first value that pydantic refused.

    Args:
        error: what pydantic raised.
        model: the model that it validated.

    Returns:
        The name of the field, and what its value must be and is. Secrets are left out.
    """
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0]).lower()
    field = model.model_fields[name]
    if first["type"] == "value_error":  # raised by a validator, in words
        problem = str(first["ctx"]["error"])
    else:
        problem = f"must be {expected(field)}"
    secret = SecretStr in _options(field.annotation)
    return name, problem if secret else f"{problem}, got {first['input']!r}"


def expected(field: FieldInfo) -> str:
    """Describe the values of a field, such as `an integer from 1 to 256`."""
    bounds = {
        name: getattr(constraint, name)
        for constraint in field.metadata
        for name in ("ge", "gt", "le", "min_length")
        if hasattr(constraint, name)
    }
    kind = _options(field.annotation)[0]
    if kind is bool:
        return "true or false"
    if get_origin(kind) is Literal:
        *others, last = get_args(kind)
        return f"{', '.join(others)} or {last}"
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        example = "[80, 443]" if item is int else '["a", "b"]'
        return f"a JSON list of {KINDS[item][1]}, as {example}"
    if kind not in KINDS:
        return "a path"
    if "min_length" in bounds:
        return f"{KINDS[kind][0]} that is not empty"
    return KINDS[kind][0] + _range(bounds)


def _range(bounds: dict[str, Any]) -> str:
    if "ge" in bounds and "le" in bounds:
        return f" from {bounds['ge']} to {bounds['le']}"
    if "ge" in bounds:
        return f" of at least {bounds['ge']}"
    return f" above {bounds['gt']}" if "gt" in bounds else ""


def _options(annotation: Any) -> list[Any]:
    """Return the types of a union without None; otherwise the type itself."""
    if get_origin(annotation) not in (Union, UnionType):
        return [annotation]
    return [kind for kind in get_args(annotation) if kind is not NoneType]
