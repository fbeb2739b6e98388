"""Assembles the command line: `mumic COMMAND`.

Results go to stdout, everything else to stderr.
"""

import os
import sys
from typing import Annotated

import typer

from app import __version__
from app.cli.atlas import atlas_command
from app.cli.baseline_asl import asl_command
from app.cli.calibrate import calibrate_app
from app.cli.compare import compare_command
from app.cli.data import data_app
from app.cli.duplicates import duplicates_command
from app.cli.evaluate import evaluate_command
from app.cli.exit_codes import exit_codes
from app.cli.gallery import gallery_command
from app.cli.import_checkpoint import import_command
from app.cli.index import index_command
from app.cli.labels import labels_app
from app.cli.openapi import openapi_command
from app.cli.predict import predict_command
from app.cli.prompts import prompts_command
from app.cli.seal import seal_command
from app.cli.serve import serve_command
from app.cli.similar import similar_command
from app.cli.thresholds import thresholds_command
from app.cli.train import train_command
from app.cli.tune import tune_command
from app.cli.validate import validate_command
from app.core.cpus import limit_openmp_threads

app = typer.Typer(
    help="Tag photos: serve, predict; make the checkpoint: data, train, tune, evaluate.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
baseline = typer.Typer(help="Train what MuMIC is compared with.", no_args_is_help=True)

app.command("serve")(serve_command)
app.command("predict")(predict_command)
app.command("validate")(validate_command)
app.command("gallery")(gallery_command)
app.command("atlas")(atlas_command)
app.command("index")(index_command)
app.command("similar")(similar_command)
app.command("duplicates")(duplicates_command)
app.command("import")(import_command)
app.command("train")(train_command)
app.command("tune")(tune_command)
app.command("prompts")(prompts_command)
app.command("thresholds")(thresholds_command)
app.command("evaluate")(evaluate_command)
app.command("compare")(compare_command)
app.command("seal")(seal_command)
app.command("openapi")(openapi_command)
app.add_typer(data_app, name="data")
app.add_typer(calibrate_app, name="calibrate")
app.add_typer(labels_app, name="labels")
app.add_typer(baseline, name="baseline")
baseline.command("asl")(asl_command)


def print_version(wanted: bool) -> None:
    """Print the version and exit, if it is wanted."""
    if wanted:
        sys.stdout.write(f"mumic {__version__}\n")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Declare the options of `mumic` itself."""


def main() -> None:
    """Run the command line."""
    limit_openmp_threads()  # before a command imports torch
    os.environ.setdefault("LANCEDB_LOG", "error")  # it warns of every new table
    with exit_codes():
        app()
