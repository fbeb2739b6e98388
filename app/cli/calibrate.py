"""`mumic calibrate ...`."""

import typer

calibrate_app = typer.Typer(
    help="Calibrate the probabilities of a checkpoint on labelled photos.", no_args_is_help=True
)
