"""The server process: connections, workers, shutdown."""

from app.serving.process.server import (
    Server,
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
    "find_unknown_settings",
    "run_workers",
    "server_config",
]
