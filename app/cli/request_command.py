"""Derives the options of a command from the fields of its request."""

from collections.abc import Callable
from inspect import Parameter, Signature
from typing import Annotated, Any, TypeVar, cast, get_origin

import typer
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from app.cli.validation import describe_first_error
from app.errors import OptionError

# Options that are not named after their field.
OPTION_NAMES = {
    "as_json": "--json",
    "ema_decay": "--ema",
    "lora_rank": "--lora",
    "micro_batches": "--parts",
    "split": "--part",
}
Request = TypeVar("Request", bound=BaseModel)


def request_command(
    request: type[Request], **positional: str
) -> Callable[[Callable[[Request], None]], Callable[..., None]]:
    """Make a function that takes a request into one that Typer can read options from.

    Args:
        request: the model of the request; descriptions, defaults and bounds are its fields'.
        positional: fields that are positional arguments, with the text that stands for them in
            the usage line.
    """
    parameters = [
        _parameter(name, field, positional.get(name))
        for name, field in request.model_fields.items()
    ]
    parameters.sort(key=lambda parameter: parameter.default is not Parameter.empty)

    def decorate(run: Callable[[Request], None]) -> Callable[..., None]:
        def command(**options: Any) -> None:
            given = {name: value for name, value in options.items() if value is not None}
            try:
                made = request(**given)
            except ValidationError as error:
                raise OptionError(*describe_first_error(error, request)) from error
            run(made)

        command.__doc__ = run.__doc__
        cast(Any, command).__signature__ = Signature(parameters)  # Typer reads it
        return command

    return decorate


def _parameter(name: str, field: FieldInfo, metavar: str | None) -> Parameter:
    kind, default = field.annotation, field.get_default()
    if get_origin(kind) is tuple:  # Typer repeats an option for a list alone
        kind = list[str] if field.is_required() else list[str] | None
        default = None
    if metavar is not None:
        info = typer.Argument(metavar=metavar, help=field.description)
    else:
        # With its name given, Typer makes a boolean option without a --no- form.
        named = name in OPTION_NAMES or kind is bool
        names = [OPTION_NAMES.get(name, f"--{name.replace('_', '-')}")] if named else []
        low, high = _bound(field, "ge"), _bound(field, "le")
        info = typer.Option(*names, help=field.description, min=low, max=high)
    return Parameter(
        name,
        Parameter.KEYWORD_ONLY,
        default=Parameter.empty if field.is_required() else default,
        annotation=Annotated[kind, info],
    )


def _bound(field: FieldInfo, name: str) -> float | None:
    return next((getattr(each, name) for each in field.metadata if hasattr(each, name)), None)
