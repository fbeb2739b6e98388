"""The server process: socket, connections, workers, shutdown."""

from app.serving.process.server import (
    Server,
    announcement,
    bind,
    server_config,
)
from app.serving.process.unknown_settings import (
    unknown_settings,
)
from app.serving.process.workers import (
    run_workers,
)

__all__ = [
    "Server",
    "announcement",
    "bind",
    "run_workers",
    "server_config",
    "unknown_settings",
]
