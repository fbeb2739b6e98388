"""`mumic seal`."""

from pathlib import Path
from typing import Annotated

import typer

from app.cli.console import console


def seal_command(
    directory: Annotated[Path, typer.Argument(help="a checkpoint directory")],
) -> None:
    """Sign a checkpoint whose labels, thresholds or weights you edited on purpose."""
    from app.core.checkpoint import seal

    seal(directory)
    console.print(f"sealed {directory}", markup=False)
