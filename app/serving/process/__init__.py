"""The server process: socket, connections, workers, shutdown."""

from app.serving.process.server import (
    Server,
    announcement,
    bind,
    server_config,
)
from app.serving.process.unknown_settings import (
    find_unknown_settings,
)
from app.serving.process.workers import (
    run_workers,
)

__all__ = [
    "Server",
    "announcement",
    "bind",
    "find_unknown_settings",
    "run_workers",
    "server_config",
]
