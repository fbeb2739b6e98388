"""The command line: one thin file per command; the packages that it calls do the work."""

from app.cli.commands import main
from app.cli.serve import worker_app

__all__ = ["main", "worker_app"]
