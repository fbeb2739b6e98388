"""`mumic tune`."""

import sys

from app.cli.console import console
from app.cli.request_command import request_command
from app.training.requests import TuneRequest


@request_command(TuneRequest)
def tune_command(request: TuneRequest) -> None:
    """Search for the best initial logit_scale by Bayesian optimisation."""
    from app.training.tuning import run_tuning

    sys.stdout.write(run_tuning(request, console))
