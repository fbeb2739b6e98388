"""Workers without a model, since importing torch takes seconds.

`python -m tests.support.light_workers FOLDER` serves with two workers until a signal. Each answers
with its process id, counts the request and reports one image in flight. While FOLDER contains a
file `hopeless`, workers kill themselves at start; without FOLDER they exit with an error.
"""

import os
import signal
import sys
import time
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from app.serving.observability import Metrics, log_to_stderr
from app.serving.process import workers
from app.settings import Settings


def create_app(settings: Settings) -> Starlette:
    """Build the app of one worker."""
    if not settings.checkpoint.is_dir():
        sys.exit("no such folder")
    if (settings.checkpoint / "hopeless").exists():
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


def main() -> None:
    """Serve with time limits of fractions of a second."""
    workers.MIN_BACKOFF_S = 0.1
    workers.EXIT_TIMEOUT_S = 0.1
    log_to_stderr("text")
    began = time.monotonic()

    def announce(line: str) -> None:
        # Two workers have started in turn, each without answering pings meanwhile.
        workers.PING_TIMEOUT_S = 2 * (time.monotonic() - began)
        print(line, file=sys.stderr)

    folder = Path(sys.argv[1])
    settings = Settings(
        checkpoint=folder, device="cpu", precision="fp32", port=0, workers=2, request_timeout_s=1
    )
    sys.exit(workers.run_workers(settings, create_app, announce))


if __name__ == "__main__":
    main()
