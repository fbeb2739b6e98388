"""Checks that a command does not overwrite its own inputs."""

from collections.abc import Mapping
from pathlib import Path

from app.errors import OptionError


def refuse_overwriting(
    outputs: Mapping[str, Path | None], inputs: Mapping[str, Path | None]
) -> None:
    """Check that no output is an input or another output.

    Args:
        outputs: option to file to write.
        inputs: option to file to read.

    Raises:
        OptionError: two options name the same file.
    """
    taken = {path.resolve(): option for option, path in inputs.items() if path is not None}
    for option, path in outputs.items():
        if path is None:
            continue
        if (other := taken.setdefault(path.resolve(), option)) != option:
            raise OptionError(option, f"{path} is --{other}, which would be lost: choose another")
