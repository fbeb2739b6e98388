"""`mumic import`."""

from pathlib import Path
from typing import Annotated

import typer

from app.cli.console import console
from app.errors import OptionError


def import_command(
    architecture: Annotated[str, typer.Argument(help="open_clip's name, e.g. ViT-B-32-quickgelu")],
    out: Annotated[Path, typer.Option(help="the checkpoint directory to write")],
    pretrained: Annotated[
        str | None, typer.Option(help="open_clip's tag of weights to download")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="a .safetensors or state-dict .pt file")
    ] = None,
    random: Annotated[bool, typer.Option("--random", help="random weights (benchmarks)")] = False,
    labels: Annotated[
        Path | None, typer.Option(help="a label set; default: the built-in travel set")
    ] = None,
    name: Annotated[str | None, typer.Option(help="default: the directory's name")] = None,
    version: Annotated[str, typer.Option(help="the checkpoint's version")] = "1.0.0",
) -> None:
    """Make a checkpoint directory from an open_clip architecture."""
    from app.core.checkpoint import import_checkpoint
    from app.core.labels import builtin_label_set, load_label_set

    if sum((pretrained is not None, weights is not None, random)) != 1:
        raise OptionError("weights", "give one of --pretrained, --weights and --random")
    import_checkpoint(
        architecture,
        out,
        load_label_set(labels) if labels else builtin_label_set(),
        name=name or out.name,
        version=version,
        pretrained=pretrained,
        weights=weights,
    )
    console.print(f"wrote {out}; serve it with: mumic serve --checkpoint {out}", markup=False)
