"""Validates options from a body or a query, with helpful errors."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from app.core.files import nearest_names
from app.errors import OptionError
from app.serving.schemas import JsonImage, Options

Opts = TypeVar("Opts", bound=Options)
MAX_QUOTED_CHARS = 60


def parse_options(model: type[Opts], fields: Mapping[str, Sequence[str]]) -> Opts:
    """Read options from the text fields of a form or query; lists are repeated fields.

    Raises:
        OptionError: a name is unknown, a field that is not a list is repeated, or a value is not
            allowed.
    """
    raw: dict[str, Any] = {}
    for name, values in fields.items():
        repeated = name in model.model_fields and "tuple" in str(
            model.model_fields[name].annotation
        )
        if not repeated and len(values) > 1:
            raise OptionError(_shortened(name), f"given {len(values)} times; give it once")
        raw[name] = list(values) if repeated else values[0]
    return validated(model, raw)


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
