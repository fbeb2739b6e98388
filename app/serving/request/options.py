"""Validates options from a body or a query, with helpful errors."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import from_json

from app.core.files import nearest_names
from app.errors import OptionError
from app.serving.schemas import JsonImage, Options

Opts = TypeVar("Opts", bound=Options)
MAX_QUOTED_CHARS = 60
LIST_ITEM = re.compile(r"([a-z_]+)\[[0-9]*\]")  # as PHP and axios send lists


def parse_options(model: type[Opts], fields: Iterable[tuple[str, Any]]) -> Opts:
    """Read options from the fields of a form or a query.

    A list is a repeated field (`labels=pool&labels=sauna`), also with brackets (`labels[]`,
    `labels[0]`), or one field with commas (`labels=pool,sauna`) or a JSON list
    (`labels=["pool", "sauna"]`). Empty fields are ignored.

    Args:
        model: the options.
        fields: names and values in the order in which they were sent. A value is a text, or any
            JSON value from a part of a form that is JSON.

    Raises:
        OptionError: a name is unknown, a field that is not a list is repeated, or a value is not
            allowed.
    """
    given: dict[str, list[Any]] = {}
    lists: set[str] = set()  # sent as a list, even if it has one item
    for sent_name, value in fields:
        name = _list_name(model, sent_name) or sent_name
        if name in model.model_fields and value in ("", None):
            continue
        is_list = isinstance(value, list) and _is_list(model, name)
        given.setdefault(name, []).extend(value if is_list else [value])
        if is_list or name != sent_name:
            lists.add(name)
    raw: dict[str, Any] = {}
    for name, values in given.items():
        if _is_list(model, name):
            raw[name] = values if name in lists or len(values) > 1 else _items(values[0])
        elif len(values) > 1:
            raise OptionError(_shortened(name), f"given {len(values)} times; give it once")
        else:
            raw[name] = values[0]
    return validated(model, raw)


def _list_name(model: type[Options], name: str) -> str:
    """Return the name of the list whose item a field with brackets is; empty for other fields."""
    match = LIST_ITEM.fullmatch(name)
    return match[1] if match and _is_list(model, match[1]) else ""


def _is_list(model: type[Options], name: str) -> bool:
    return name in model.model_fields and "tuple" in str(model.model_fields[name].annotation)


def _items(value: Any) -> list[Any]:
    """Split a text that is a JSON list of texts or has commas; other values are one item."""
    if not isinstance(value, str):
        return [value]
    if (items := _json_texts(value)) is not None:
        return items
    return [item.strip() for item in value.split(",") if item.strip()] if "," in value else [value]


def _json_texts(value: str) -> list[Any] | None:
    """Parse a JSON list of texts; None for other texts, also those that begin with a bracket."""
    if not value.lstrip().startswith("["):
        return None
    try:
        items = from_json(value)
    except ValueError:
        return None
    return items if all(isinstance(item, str) for item in items) else None


def validated(model: type[Opts], raw: Mapping[str, Any]) -> Opts:
    """Validate parsed options.

    Raises:
        OptionError: a name is unknown or a value is not allowed.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise _option_error(model, error) from error


def _option_error(model: type[Options], error: ValidationError) -> OptionError:
    # Unknown names first: a mistyped name is often the reason for a missing one.
    first = min(
        error.errors(include_url=False), key=lambda found: found["type"] != "extra_forbidden"
    )
    field = ".".join(_shortened(str(part)) for part in first["loc"]) or "options"
    if first["type"] == "extra_forbidden":
        in_an_image = len(first["loc"]) > 1
        known = sorted((JsonImage if in_an_image else model).model_fields)
        close = nearest_names(_shortened(str(first["loc"][-1])), known)
        hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(known)}"
        return OptionError(field, f"unknown option; {hint}")
    if first["type"] == "missing":
        return OptionError(field, "is missing")
    message = first["msg"].removeprefix("Value error, ")
    message = message.replace("Tuple", "List").replace("tuple", "list")  # the JSON term
    value = first["input"]
    if isinstance(value, str):
        value = value[: MAX_QUOTED_CHARS + 1]  # it may be megabytes long
    got = "" if isinstance(value, dict) else f", got {_shortened(repr(value))}"
    return OptionError(field, f"{message}{got}")


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_QUOTED_CHARS else f"{text[:MAX_QUOTED_CHARS]}…"
