"""The settings of a command: options, then the environment, then defaults."""

from typing import Any, get_args

from pydantic import SecretStr, ValidationError
from pydantic_settings import SettingsError

from app.errors import OptionError
from app.settings import Settings


def read_settings(**options: Any) -> Settings:
    """Read the MUMIC_* variables; an option that is not None takes precedence.

    Raises:
        OptionError: a value is not allowed; the text names the option and the variable.
    """
    try:
        return Settings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = str(first["loc"][0]).lower()
        option = f"--{field} or " if field in options else ""
        secret = SecretStr in get_args(Settings.model_fields[field].annotation)
        got = "" if secret else f", got {first['input']!r}"
        message = (
            f"{first['msg'].removeprefix('Value error, ')}{got} ({option}MUMIC_{field.upper()})"
        )
        raise OptionError(field, message) from error
    except SettingsError as error:  # a list that is not valid JSON
        field = str(error).partition('"')[2].partition('"')[0]
        message = f'must be a JSON list, as ["a", "b"] (MUMIC_{field.upper()})'
        raise OptionError(field, message) from error
