"""`mumic calibrate ...`."""

import typer

from app.cli.calibrate_labels import calibrate_labels_command
from app.cli.calibrate_zero_shot import calibrate_zero_shot_command

calibrate_app = typer.Typer(
    help="Calibrate the probabilities of a checkpoint on labelled photos.", no_args_is_help=True
)
calibrate_app.command("labels")(calibrate_labels_command)
calibrate_app.command("zero-shot")(calibrate_zero_shot_command)
