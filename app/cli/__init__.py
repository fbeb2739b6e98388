"""`mumic ...`: one thin file a command; the work is done by the packages that it calls."""

from app.cli.commands import main, worker_app

__all__ = ["main", "worker_app"]
