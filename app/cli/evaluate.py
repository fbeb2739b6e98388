"""`mumic evaluate`."""

import sys

from app.cli.console import console
from app.cli.request_command import request_command
from app.evaluation.requests import EvaluateRequest


@request_command(EvaluateRequest)
def evaluate_command(request: EvaluateRequest) -> None:
    """Measure a checkpoint on labelled photos: a table, and a report with plots."""
    from app.evaluation.report import run_evaluation

    sys.stdout.write(run_evaluation(request, console))
