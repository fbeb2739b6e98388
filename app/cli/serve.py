"""`mumic serve`."""

import logging
import os
from contextlib import suppress
from typing import Annotated, Any

import typer

from app.cli.console import console
from app.cli.exit_codes import exit_codes
from app.cli.options import Checkpoint, Device, Precision
from app.cli.settings import read_settings
from app.settings import Settings

logger = logging.getLogger("mumic.settings")


def serve_command(
    checkpoint: Checkpoint = None,
    host: Annotated[str | None, typer.Option(help="[MUMIC_HOST; 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="[MUMIC_PORT; 8000]")] = None,
    device: Device = None,
    precision: Precision = None,
    workers: Annotated[
        int | None, typer.Option(help="server processes on the port [MUMIC_WORKERS; 1]")
    ] = None,
) -> None:
    """Serve a checkpoint over HTTP. Every setting is a MUMIC_ variable as well."""
    from app.serving.observability import LogFormat, log_to_stderr
    from app.serving.process import find_unknown_settings, run_workers

    log_format: LogFormat = "text"
    try:
        settings = read_settings(
            checkpoint=checkpoint,
            host=host,
            port=port,
            device=device,
            precision=precision,
            workers=workers,
        )
        log_format = settings.log_format
    finally:  # a mistyped name may be the reason why a setting is invalid
        log_to_stderr(log_format)
        for line in find_unknown_settings(os.environ):
            logger.warning(line)
    if settings.workers > 1:
        raise typer.Exit(run_workers(settings, worker_app, announce))
    from app.main import run_server  # torch, which the parent of several workers does without

    run_server(settings, announce)


def announce(line: str) -> None:
    """Print that the server listens; a full disk behind stderr does not stop it."""
    with suppress(OSError):
        console.print(line, markup=False)


def worker_app(settings: Settings) -> Any:
    """The ASGI app of a worker process; an expected error exits as the command would."""
    with exit_codes():
        from app.main import create_worker

        return create_worker(settings)
