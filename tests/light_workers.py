"""Workers that need no model, since torch takes seconds to load.

`python -m tests.light_workers FOLDER` serves with two of them until a signal stops it. Each answers
with its process id, counts that, and says that it has one image in flight. While FOLDER holds a
file `hopeless`, none gets so far; without a FOLDER they refuse.
"""

import os
import signal
import sys
import time
from pathlib import Path
from unittest.mock import patch

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from uvicorn.supervisors.multiprocess import Process

from app.serving import workers
from app.serving.logs import log_to_stderr
from app.serving.metrics import Metrics
from app.settings import Settings


def create_app(settings: Settings) -> Starlette:
    """The app of one worker."""
    if not settings.checkpoint.is_dir():
        sys.exit("no such folder")
    if (settings.checkpoint / "hopeless").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    metrics = Metrics()
    names = ("name", "version", "labels_version", "device", "precision")
    metrics.name_model(**dict.fromkeys(names, "light"))
    metrics.note_in_flight(1)  # for ever

    async def pid(_: Request) -> PlainTextResponse:
        metrics.count_request("/", 200, 0)
        return PlainTextResponse(str(os.getpid()))

    async def read_metrics(_: Request) -> PlainTextResponse:
        return PlainTextResponse(metrics.render())

    return Starlette(routes=[Route("/", pid), Route("/metrics", read_metrics)])


class Clock:
    """The supervisor's clock, which goes on by half a minute with each ping that is ignored.

    Only one of a stopped worker is: one that starts has its whole minute on a busy machine too.
    """

    def __init__(self) -> None:
        self._ahead_s = 0.0

    def monotonic(self) -> float:
        """What patience is measured by."""
        return time.monotonic() + self._ahead_s

    def ping(self, worker: Process, timeout: float) -> bool:
        """Wait for a worker's answer, as uvicorn does."""
        answered = Process.ping(worker, timeout)
        if not answered and _is_stopped(worker.pid):
            self._ahead_s += workers.SILENT_WORKER_S / 2
        return answered


def _is_stopped(pid: int | None) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] == "T"


def main() -> None:
    """Serve, with what takes a minute in earnest done in a moment."""
    workers.FIRST_PAUSE_S = 0.1
    workers.ENDS_WITHIN_S = 0.1
    clock = Clock()

    def ping(worker: Process, timeout: float) -> bool:
        return clock.ping(worker, timeout)

    patch.object(workers, "time", clock).start()
    patch.object(workers._Worker, "ping", ping).start()
    log_to_stderr("text")

    folder = Path(sys.argv[1])
    settings = Settings(
        checkpoint=folder, device="cpu", precision="fp32", port=0, workers=2, request_timeout_s=1
    )
    sys.exit(workers.run_workers(settings, create_app, lambda line: print(line, file=sys.stderr)))


if __name__ == "__main__":
    main()
