"""`mumic baseline asl`."""

from app.baselines.requests import AslRequest
from app.cli.console import console
from app.cli.request_command import request_command


@request_command(AslRequest)
def asl_command(request: AslRequest) -> None:
    """Train ASL: the same image tower, a linear head, the asymmetric loss, no text tower."""
    from app.baselines.asl import run_asl_training

    run_asl_training(request, console)
