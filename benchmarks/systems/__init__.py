"""Servers of one checkpoint with the same request and response; MuMIC is one of them."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from httptools import HttpParserError

from benchmarks.support.http import has_labels, multipart_requests, request_once
from benchmarks.support.processes import stop
from benchmarks.support.serving import Server

# System -> the distributions whose versions the table names.
SYSTEMS = {
    "mumic": ("mumic",),
    "plain_fastapi": ("fastapi", "uvicorn"),
    "litserve": ("litserve",),
    "ray_serve": ("ray",),
}
START_TIMEOUT_S = 180
# The other systems have neither a deadline nor a limit of bytes, so MuMIC runs without them too.
UNLIMITED = {
    "MUMIC_REQUEST_TIMEOUT_S": "3600",
    "MUMIC_MAX_REQUEST_BYTES": str(2**30),
    "MUMIC_MAX_QUEUED_BYTES": str(2**30),
}


@contextlib.contextmanager
def running(system: str, checkpoint: Path, photo: bytes, log: Path) -> Iterator[Server]:
    """Start a system on a free port, wait until it tags a photo, and stop all its processes.

    Args:
        system: a key of `SYSTEMS`.
        checkpoint: checkpoint directory.
        photo: the JPEG file that it must tag.
        log: the system's output is appended to this file.

    Raises:
        RuntimeError: it exited, or did not tag the photo within `START_TIMEOUT_S`.
    """
    port = _free_port()
    with log.open("ab") as output:
        process = subprocess.Popen(
            _command(system, checkpoint, port),
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | UNLIMITED,
        )
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _tags(port, photo):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{system} did not start; see {log}")
            time.sleep(0.5)
        yield Server(process, port, log)
    finally:
        stop(process)


def _tags(port: int, photo: bytes) -> bool:
    [request] = multipart_requests([photo], 1)
    try:
        return has_labels(request_once(port, request))
    except (OSError, HttpParserError):
        return False


def _free_port() -> int:
    # Outside the ephemeral range, of which Ray takes many ports while it starts.
    for port in range(8300, 9300):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no port from 8300 to 9299 is free")


def _command(system: str, checkpoint: Path, port: int) -> list[str]:
    if system == "mumic":
        options = ["--checkpoint", str(checkpoint), "--device", "cpu", "--precision", "fp32"]
        return [sys.executable, "-m", "app.cli", "serve", *options, "--port", str(port)]
    module = f"benchmarks.systems.{system}_app"
    return [sys.executable, "-m", module, str(checkpoint), "--port", str(port)]
