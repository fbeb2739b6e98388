"""`mumic calibrate zero-shot`."""

import sys

from app.cli.console import console
from app.cli.request_command import request_command
from app.evaluation.requests import CalibrateZeroShotRequest


@request_command(CalibrateZeroShotRequest, checkpoint="CHECKPOINT")
def calibrate_zero_shot_command(request: CalibrateZeroShotRequest) -> None:
    """Calibrate the scores of arbitrary texts, so that a text that fits nothing stays low."""
    from app.evaluation.zero_shot import run_zero_shot_calibration

    sys.stdout.write(run_zero_shot_calibration(request, console))
