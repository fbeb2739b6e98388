"""`mumic import`."""

from pathlib import Path
from typing import Annotated

import typer

from app.cli.console import console
from app.errors import OptionError


def import_command(
    model: Annotated[
        str,
        typer.Argument(
            help="open_clip's name of an architecture, e.g. ViT-B-32-quickgelu, or a checkpoint "
            "directory, e.g. weights/mumic-demo"
        ),
    ],
    out: Annotated[Path, typer.Option(help="the checkpoint directory to write")],
    pretrained: Annotated[
        str | None, typer.Option(help="open_clip's tag of weights to download")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="a .safetensors or state-dict .pt file")
    ] = None,
    random: Annotated[bool, typer.Option("--random", help="random weights (benchmarks)")] = False,
    labels: Annotated[
        Path | None,
        typer.Option(help="a label set; default for an architecture: the built-in travel set"),
    ] = None,
    name: Annotated[str | None, typer.Option(help="default: the directory's name")] = None,
    version: Annotated[str, typer.Option(help="the checkpoint's version")] = "1.0.0",
) -> None:
    """Make a checkpoint directory from an architecture or another checkpoint."""
    from app.core.checkpoint import import_checkpoint, import_from_checkpoint
    from app.core.labels import builtin_label_set, load_label_set

    sources = sum((pretrained is not None, weights is not None, random))
    name = name or out.resolve().name
    if Path(model).is_dir() and not sources:
        if labels is None:
            raise OptionError(
                "labels", "give the label set of the new checkpoint, e.g. --labels labels.yaml"
            )
        import_from_checkpoint(Path(model), out, load_label_set(labels), name=name, version=version)
    else:
        if sources != 1:
            raise OptionError(
                "weights",
                "give one of --pretrained, --weights and --random, or a checkpoint directory "
                "instead of the architecture",
            )
        if pretrained:
            console.print(
                f"looking up the weights {pretrained} on the model hub; HF_HUB_OFFLINE=1 looks "
                "only in its cache",
                markup=False,
            )
        import_checkpoint(
            model,
            out,
            load_label_set(labels) if labels else builtin_label_set(),
            name=name,
            version=version,
            pretrained=pretrained,
            weights=weights,
        )
    console.print(f"wrote {out}; serve it with: mumic serve --checkpoint {out}", markup=False)
