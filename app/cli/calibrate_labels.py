"""`mumic calibrate labels`."""

import sys

from app.cli.console import console
from app.cli.request_command import request_command
from app.evaluation.requests import CalibrateLabelsRequest


@request_command(CalibrateLabelsRequest, checkpoint="CHECKPOINT")
def calibrate_labels_command(request: CalibrateLabelsRequest) -> None:
    """Calibrate the probabilities of each label by Platt scaling, shrunk to a pooled fit."""
    from app.evaluation.label_calibration import run_label_calibration

    sys.stdout.write(run_label_calibration(request, console))
