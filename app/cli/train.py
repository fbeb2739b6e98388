"""`mumic train`."""

from app.cli.console import console
from app.cli.request_command import request_command
from app.training.requests import TrainRequest


@request_command(TrainRequest)
def train_command(request: TrainRequest) -> None:
    """Fine-tune a checkpoint on labelled photos; an interrupted run is resumed."""
    from app.training.run import run_training

    run_training(request, console)
