"""`mumic serve --workers N`: several processes, one port, one set of numbers."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from benchmarks.processes import tree
from tests.fakes import wait_until
from tests.sending import photo, raw

PATIENCE_S = 60
WORKERS = 2


@contextmanager
def serving(checkpoint: Path, *options: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "app.cli", "serve", "--port", "0", "--device", "cpu"]
    command += ["--precision", "fp32", "--workers", str(WORKERS), *options]
    environment = os.environ | {"MUMIC_CHECKPOINT": str(checkpoint), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        pids = tree(process.pid)
        process.kill()
        process.communicate()
        for pid in pids[1:]:
            if Path(f"/proc/{pid}").exists():
                os.kill(pid, signal.SIGKILL)


def address(server: "subprocess.Popen[str]") -> str:
    assert server.stderr is not None
    for line in server.stderr:
        if found := re.search(r"MuMIC listens on (http://\S+:\d+): .*, 2 workers", line):
            return found[1]
    raise AssertionError("it never said where it listens")


def counted(url: str) -> int:
    """Answered requests to /predict, of all workers."""
    text = httpx.get(f"{url}/metrics", timeout=PATIENCE_S).text
    found = re.search(r'^mumic_requests_total\{route="/predict",status="200"\} (\d+)', text, re.M)
    return int(found[1]) if found else 0


def ask(url: str, times: int) -> None:
    for _ in range(times):  # a connection each, or one worker would get them all
        answer = httpx.post(f"{url}/predict", **raw(photo()), timeout=PATIENCE_S)
        assert answer.status_code == 200


def processes_of_workers(server: "subprocess.Popen[str]") -> list[int]:
    """Those that serve: the supervisor and multiprocessing's own helper hold no model."""
    return [
        pid
        for pid in tree(server.pid)[1:]
        if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


def test_workers_add_up_come_back_and_end_together(tiny_checkpoint: Path) -> None:
    with serving(tiny_checkpoint) as server:
        url = address(server)
        ask(url, 6)
        assert counted(url) == 6
        text = httpx.get(f"{url}/metrics").text
        for of_all in ("mumic_model_info", "mumic_build_info"):
            assert len(re.findall(rf"^{of_all}\{{.* 1.0$", text, re.MULTILINE)) == 1
        of_each = re.findall(r'^process_resident_memory_bytes\{pid="(\d+)"\}', text, re.MULTILINE)
        assert set(map(int, of_each)) == set(processes_of_workers(server))

        before = processes_of_workers(server)
        assert len(before) == WORKERS
        os.kill(before[0], signal.SIGKILL)
        wait_until(lambda: len(set(processes_of_workers(server)) - set(before)) == 1)
        wait_until(lambda: len(processes_of_workers(server)) == WORKERS)
        ask(url, 2)
        assert counted(url) == 8  # what the dead worker counted stays
        assert f'pid="{before[0]}"' not in httpx.get(f"{url}/metrics").text

        every = tree(server.pid)
        server.send_signal(signal.SIGTERM)
        assert server.wait(PATIENCE_S) in (0, -signal.SIGTERM)
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in every))


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--checkpoint", "nowhere"], 1, "no such checkpoint directory"),
        (["--host", "192.0.2.1"], 2, "cannot listen on"),
    ],
)
def test_what_cannot_be_served_is_said_once_and_nothing_stays(
    tiny_checkpoint: Path, options: list[str], code: int, says: str
) -> None:
    with serving(tiny_checkpoint, *options) as server:
        _, said = server.communicate(timeout=PATIENCE_S)
        assert (server.returncode, said.count(says)) == (code, 1)
