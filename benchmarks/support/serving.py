"""Runs `mumic serve` in a child process, on a free loopback port."""

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

from benchmarks.support.processes import stop

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 60
MESSAGE = re.compile(r".* listens on http://\S+:(\d+): .*")


@dataclass(frozen=True, slots=True)
class Server:
    """A running server.

    Args:
        process: root of its process tree.
        port: on the loopback address.
        log: file with its standard error.
    """

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def pid(self) -> int:
        """Process id of the root of its process tree."""
        return self.process.pid

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def mumic_server(
    checkpoint: Path,
    *options: str,
    environment: Mapping[str, str] = MappingProxyType({}),
    source_tree: Path | None = None,
) -> Iterator[Server]:
    """Start a server, wait until it listens, and stop it at the end of the context.

    Its start-up message, which names device and precision, is repeated on standard error.

    Args:
        checkpoint: checkpoint directory.
        options: further options of `mumic serve`.
        environment: variables that are added to those of this process.
        source_tree: checkout whose code runs; default: that of the working directory.

    Raises:
        RuntimeError: it did not listen within `START_TIMEOUT_S`.
    """
    command = [sys.executable, "-m", "app.cli", "serve", "--port", "0"]
    command += ["--checkpoint", str(checkpoint.resolve()), *options]
    with TemporaryDirectory() as folder:
        log = Path(folder, "log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, stderr=output, env=os.environ | environment, cwd=source_tree
            )
        try:
            message, port = _start_up_message(process, log)
            print(message, file=sys.stderr)
            yield Server(process, port, log)
        finally:
            stop(process, STOP_TIMEOUT_S)


def _start_up_message(process: subprocess.Popen[bytes], log: Path) -> tuple[str, int]:
    deadline = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        if found := MESSAGE.search(log.read_text(encoding="utf-8")):
            return found[0], int(found[1])
        time.sleep(0.01)
    raise RuntimeError(f"mumic serve did not start:\n{log.read_text(encoding='utf-8')}")
