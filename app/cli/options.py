"""The options that the commands on a served checkpoint share."""

from pathlib import Path
from typing import Annotated

import typer

Checkpoint = Annotated[
    Path | None,
    typer.Option(help="checkpoint directory [MUMIC_CHECKPOINT; the shipped one]"),
]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N [MUMIC_DEVICE; auto]")]
Precision = Annotated[
    str | None, typer.Option(help="auto, fp32, bf16 or fp16 [MUMIC_PRECISION; auto]")
]
