"""The server process: port, connections, workers, shutdown."""

from app.serving.process.server import (
    Server,
    announcement,
    bind,
    server_config,
)
from app.serving.process.unknown_settings import (
    misspelt,
)
from app.serving.process.workers import (
    run_workers,
)

__all__ = [
    "Server",
    "announcement",
    "bind",
    "misspelt",
    "run_workers",
    "server_config",
]
