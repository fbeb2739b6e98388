"""`mumic thresholds`."""

import sys

from app.cli.console import console
from app.cli.request_command import request_command
from app.evaluation.requests import ThresholdsRequest


@request_command(ThresholdsRequest)
def thresholds_command(request: ThresholdsRequest) -> None:
    """Fit each label's serve and store thresholds on labelled photos."""
    from app.evaluation.thresholds import run_thresholds

    sys.stdout.write(run_thresholds(request, console))
