"""`mumic data ...`."""

import sys

import typer

from app.annotation.requests import (
    CandidatesRequest,
    ConsolidateRequest,
    SplitRequest,
    TasksRequest,
)
from app.cli.console import console
from app.cli.request_command import request_command
from app.evaluation.requests import SuspectsRequest

data_app = typer.Typer(help="From an archive of photos to a manifest.", no_args_is_help=True)


@data_app.command("candidates")
@request_command(CandidatesRequest)
def candidates_command(request: CandidatesRequest) -> None:
    """Pick photos to annotate: over the strata of a column, and most like rare labels."""
    from app.annotation.sampling import run_candidates

    run_candidates(request, console)


@data_app.command("tasks")
@request_command(TasksRequest)
def tasks_command(request: TasksRequest) -> None:
    """Group the labels into questions and write a Label Studio project that asks them."""
    from app.annotation.questions import run_tasks

    run_tasks(request, console)


@data_app.command("consolidate")
@request_command(ConsolidateRequest)
def consolidate_command(request: ConsolidateRequest) -> None:
    """Turn votes into targets; with a golden set, at the best threshold of each label."""
    from app.annotation.targets import run_consolidation

    sys.stdout.write(run_consolidation(request, console))


@data_app.command("split")
@request_command(SplitRequest)
def split_command(request: SplitRequest) -> None:
    """Split targets into train, validation and test by each photo's rarest label."""
    from app.annotation.targets import run_split

    sys.stdout.write(run_split(request, console))


@data_app.command("suspects")
@request_command(SuspectsRequest)
def suspects_command(request: SuspectsRequest) -> None:
    """Find likely label errors, near-duplicates in two splits, and photos that no label fits."""
    from app.evaluation.suspects import run_suspects

    sys.stdout.write(run_suspects(request, console))
