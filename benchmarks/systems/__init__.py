"""Servers of one checkpoint with the same request and answer; MuMIC is one of them."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.support.load import answers
from benchmarks.support.processes import stop

# name -> the distributions whose versions the table names
SYSTEMS = {
    "mumic": ("mumic",),
    "plain_fastapi": ("fastapi", "uvicorn"),
    "litserve": ("litserve",),
    "ray_serve": ("ray",),
}
START_S = 180
# A refusal voids a cell, so that MuMIC must not be the only system with a deadline and a limit.
UNLIMITED = {
    "MUMIC_REQUEST_TIMEOUT_S": "3600",
    "MUMIC_MAX_REQUEST_BYTES": str(2**30),
    "MUMIC_MAX_QUEUED_BYTES": str(2**30),
}


@dataclass(frozen=True, slots=True)
class Server:
    """A system that answers.

    Args:
        port: on the loopback address.
        pid: of the process whose tree it is.
    """

    port: int
    pid: int


@contextlib.contextmanager
def serving(system: str, checkpoint: Path, photo: bytes, log: Path) -> Iterator[Server]:
    """Start a system on a free port, wait until it tags a photo, and end all its processes.

    Args:
        system: a key of `SYSTEMS`.
        checkpoint: checkpoint directory.
        photo: an image file to try it with.
        log: what it says is added to this file.

    Raises:
        RuntimeError: it ended, or did not answer in time.
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
        deadline = time.monotonic() + START_S
        while not answers(port, photo):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{system} does not answer: {log} says why")
            time.sleep(0.5)
        yield Server(port, process.pid)
    finally:
        stop(process)


def _free_port() -> int:
    # Not one that the system hands out: Ray takes many of those while it starts.
    for port in range(8300, 9300):
        with socket.socket() as free, contextlib.suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no port from 8300 to 9299 is free")


def _command(system: str, checkpoint: Path, port: int) -> list[str]:
    if system == "mumic":
        options = ["--checkpoint", str(checkpoint), "--device", "cpu", "--precision", "fp32"]
        return [sys.executable, "-m", "app.cli", "serve", *options, "--port", str(port)]
    module = f"benchmarks.systems.{system}_app"
    return [sys.executable, "-m", module, str(checkpoint), "--port", str(port)]
