"""A running server with several worker processes."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx

from benchmarks.support.processes import tree
from tests.support import fakes

PATIENCE_S = 120  # importing torch takes several seconds on a busy machine
WORKERS = 2


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a worker, which may have to start first."""
    fakes.wait_until(condition, PATIENCE_S)


class Running:
    """A server with several workers, and its log."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def log_text(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def url(self) -> str:
        wait_until(lambda: ", 2 workers. " in self.log_text)
        found = re.search(r"MuMIC listens on (http://\S+:\d+): .*, 2 workers", self.log_text)
        assert found
        return found[1]

    def workers(self) -> set[int]:
        """Return the worker processes, without the supervisor and multiprocessing's helper."""
        return {
            pid
            for pid in tree(self.process.pid)[1:]
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
        }

    def stop(self) -> int:
        """Stop the server, wait until no process is left and return the exit code."""
        every = tree(self.process.pid)
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE_S)
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in every))
        return code


@contextmanager
def running(folder: Path, *command: str, **environment: str) -> Iterator[Running]:
    log = folder / "log"
    with log.open("w", encoding="utf-8") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
            stderr=stderr,
            text=True,
        )
        try:
            yield Running(process, log)
        finally:
            pids = tree(process.pid)
            process.kill()
            process.wait()
            for pid in pids[1:]:
                if Path(f"/proc/{pid}").exists():
                    os.kill(pid, signal.SIGKILL)


def serving(folder: Path, *options: str) -> AbstractContextManager[Running]:
    command = ["app.cli", "serve", "--port", "0", "--device", "cpu", "--precision", "fp32"]
    return running(folder, *command, "--workers", str(WORKERS), *options)


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""  # empty for a zombie
    except OSError:
        return False


def is_refused(url: str) -> bool:
    try:
        httpx.get(f"{url}/healthz", timeout=PATIENCE_S)
    except httpx.ConnectError:
        return True
    except httpx.TransportError:
        return False  # was in the accept backlog when a worker closed the port
    return False
