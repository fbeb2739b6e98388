"""Options that every command on labelled photos has."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from app.errors import OptionError

Manifest = Annotated[Path, typer.Option(help="CSV or Parquet: file, part, positive, negative")]
Photos = Annotated[Path, typer.Option(help="folder that the manifest's files are in")]
Names = Annotated[
    Path | None, typer.Option(help="YAML: what the manifest's names mean, if not label ids")
]
Workers = Annotated[int, typer.Option(min=0, help="processes that load photos, for each device")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")]


def refuse_overwriting(
    outputs: Mapping[str, Path | None], inputs: Mapping[str, Path | None]
) -> None:
    """Refuse to write where a command reads, or to write two things in one place.

    Args:
        outputs: options that name a file to write.
        inputs: options that name a file to read.

    Raises:
        OptionError: two of them are the same file.
    """
    taken = {path.resolve(): option for option, path in inputs.items() if path is not None}
    for option, path in outputs.items():
        if path is None:
            continue
        if (other := taken.setdefault(path.resolve(), option)) != option:
            raise OptionError(option, f"{path} is --{other}, which would be lost: choose another")
