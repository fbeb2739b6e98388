"""Options that the commands which train have in common."""

from pathlib import Path
from typing import Annotated

import typer

from app.training.config import BestBy

Init = Annotated[Path, typer.Option(help="checkpoint directory to start from")]
LeaveOut = Annotated[
    list[str] | None, typer.Option(help="use no human label of this name (repeatable)")
]
Epochs = Annotated[int, typer.Option(min=1)]
BatchSize = Annotated[int, typer.Option(min=1, help="photos a step, over all devices and parts")]
Parts = Annotated[
    int, typer.Option(min=1, help="parts that a device takes its share of a step in (memory)")
]
LearningRate = Annotated[float, typer.Option(min=0)]
WeightDecay = Annotated[float, typer.Option(min=0)]
Warmup = Annotated[float, typer.Option(min=0, max=1, help="share of steps")]
FreezeImage = Annotated[bool, typer.Option("--freeze-image", help="all but the image projection")]
MinCrop = Annotated[
    float, typer.Option(min=0.05, max=1, help="least share of a photo that augmentation keeps")
]
Ema = Annotated[
    float | None,
    typer.Option(
        "--ema",
        min=0,
        max=0.999999,
        help="write a moving average of the weights; its decay a step, e.g. 0.99",
    ),
]
BestByOption = Annotated[
    BestBy,
    typer.Option(
        help="the validation metric that chooses the epoch; auto: gap-at-10 where images know "
        "more than ten labels on the average, else macro-map"
    ),
]
Compile = Annotated[bool, typer.Option("--compile", help="compile the image tower")]
Seed = Annotated[int, typer.Option(min=0)]
Devices = Annotated[int, typer.Option(min=1, help="how many; each runs a process of its own")]
PrecisionOption = Annotated[
    str, typer.Option(help="auto, fp32, bf16 or fp16, of the towers; auto: fp32 on a CPU")
]
CachePhotos = Annotated[
    bool, typer.Option("--cache-photos", help="decode photos once and keep them in memory")
]
MaxBadPhotos = Annotated[
    float,
    typer.Option(min=0, help="photos that may fail to decode: a count, or below 1 a share"),
]
FEW_BAD = 0.01
