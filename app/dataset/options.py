"""Options that every command on labelled photos has."""

from pathlib import Path
from typing import Annotated

import typer

Manifest = Annotated[Path, typer.Option(help="CSV or Parquet: file, part, positive, negative")]
Photos = Annotated[Path, typer.Option(help="folder that the manifest's files are in")]
Names = Annotated[
    Path | None, typer.Option(help="YAML: what the manifest's names mean, if not label ids")
]
Workers = Annotated[int, typer.Option(min=0, help="processes that load photos, for each device")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")]
