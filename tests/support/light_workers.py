"""Workers without a model, which start quickly because they do not import torch.

`python -m tests.support.light_workers FOLDER` serves with two workers until a signal. Each responds
with its process id, counts the request and reports one image in flight. While FOLDER contains a
file `crash`, workers kill themselves at start; a file `crash-N` kills the next N. If FOLDER does
not exist, they exit with an error.
"""

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from uvicorn.supervisors.multiprocess import Process

from app.serving.observability import Metrics, log_to_stderr
from app.serving.process import workers
from app.settings import Settings


def use_up_crash(folder: Path) -> bool:
    """Rename `crash-N` to `crash-(N - 1)`, and `crash-1` to `used`; False if there is none."""
    for path in folder.glob("crash-*"):
        left = int(path.name.partition("-")[2]) - 1
        with suppress(FileNotFoundError):  # another worker was faster
            path.rename(folder / (f"crash-{left}" if left else "used"))
            return True
    return False


def create_app(settings: Settings) -> Starlette:
    """Build the app of one worker."""
    if not settings.checkpoint.is_dir():
        sys.exit("no such folder")
    if (settings.checkpoint / "crash").exists() or use_up_crash(settings.checkpoint):
        os.kill(os.getpid(), signal.SIGKILL)
    metrics = Metrics()
    names = ("name", "version", "labels_version", "device", "precision")
    metrics.model.set_served(**dict.fromkeys(names, "light"), fused=True)
    metrics.images.set_in_flight(1)  # never reset

    async def pid(_: Request) -> PlainTextResponse:
        metrics.requests.count("/", 200, 0)
        return PlainTextResponse(str(os.getpid()))

    async def read_metrics(_: Request) -> PlainTextResponse:
        return PlainTextResponse(metrics.render())

    return Starlette(routes=[Route("/", pid), Route("/metrics", read_metrics)])


class Clock:
    """The supervisor's clock. It advances by half a ping timeout when a stopped worker is pinged.

    A worker that is starting still has the whole timeout, also on a slow machine.
    """

    def __init__(self) -> None:
        self._ahead_s = 0.0

    def monotonic(self) -> float:
        """Return the time, including what the clock was advanced by."""
        return time.monotonic() + self._ahead_s

    def ping(self, worker: Process, timeout: float) -> bool:
        """Ping a worker as uvicorn does; advance the clock if a stopped one does not answer."""
        answered = Process.ping(worker, timeout)
        if not answered and _is_stopped(worker.pid):
            self._ahead_s += workers.PING_TIMEOUT_S / 2
        return answered


def _is_stopped(pid: int | None) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] == "T"


def main() -> None:
    """Serve with short time limits and a clock that skips most of a ping timeout."""
    workers.MIN_BACKOFF_S = 0.1
    workers.EXIT_TIMEOUT_S = 0.1
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
