"""The settings of a command: options, then the environment, then defaults."""

from typing import Any

from pydantic import ValidationError
from pydantic_settings import SettingsError

from app.cli.validation import describe_first_error, expected
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
        name, problem = describe_first_error(error, Settings)
        option = f"--{name} or " if name in options else ""
        raise OptionError(name, f"{problem} ({option}MUMIC_{name.upper()})") from error
    except SettingsError as error:  # a list that is not valid JSON
        name = str(error).partition('"')[2].partition('"')[0]
        problem = f"must be {expected(Settings.model_fields[name])}"
        raise OptionError(name, f"{problem} (MUMIC_{name.upper()})") from error
