"""`mumic compare`."""

import sys

from app.baselines.requests import CompareRequest
from app.cli.console import console
from app.cli.request_command import request_command


@request_command(CompareRequest, models="NAME=DIR[:SCORING]...")
def compare_command(request: CompareRequest) -> None:
    """Compare checkpoints on labelled photos, as the paper's tables 1 and 2 do.

    A model is a MuMIC checkpoint (sigmoid: its own scores; pair: each label against a neutral
    text, as the paper scores CLIP; softmax: one of the labels; calibrated: as /zero-shot) or an
    ASL classifier.
    """
    from app.baselines.comparison import run_comparison

    sys.stdout.write(run_comparison(request, console))
