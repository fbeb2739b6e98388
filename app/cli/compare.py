"""`mumic compare`."""

import sys

from app.baselines.requests import CompareRequest
from app.cli.console import console
from app.cli.request_command import request_command


@request_command(CompareRequest, models="NAME=DIR[:SCORING]...")
def compare_command(request: CompareRequest) -> None:
    """Compare checkpoints on labelled photos, as the paper's tables 1 and 2 do.

    A model is a MuMIC checkpoint or an ASL classifier. A checkpoint scores the texts of the
    classes as /zero-shot does (sigmoid: each by itself, as trained; pair: each against a neutral
    text, as the paper scores CLIP; softmax: one of them; calibrated: by its calibration), without
    the calibration of its labels.
    """
    from app.baselines.comparison import run_comparison

    sys.stdout.write(run_comparison(request, console))
