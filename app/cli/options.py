"""The options that the commands on a served checkpoint share."""

from typing import Annotated

import typer

# A text, since an empty path would be the working directory.
Checkpoint = Annotated[
    str | None,
    typer.Option(
        metavar="DIRECTORY", help="checkpoint directory [MUMIC_CHECKPOINT; the shipped one]"
    ),
]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N [MUMIC_DEVICE; auto]")]
Precision = Annotated[
    str | None, typer.Option(help="auto, fp32, bf16 or fp16 [MUMIC_PRECISION; auto]")
]
