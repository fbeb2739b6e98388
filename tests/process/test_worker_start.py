"""Start of several worker processes: failures, kills, and the end of the supervisor."""

import os
import signal
from pathlib import Path

import httpx
import pytest

from app.cli import worker_app
from app.settings import Settings
from tests.support.command import mumic
from tests.support.worker_processes import (
    PATIENCE_S,
    WORKERS,
    is_refused,
    running,
    runs,
    wait_until,
)

pytestmark = pytest.mark.slow


def test_workers_exit_when_supervisor_is_killed(tmp_path: Path) -> None:
    with running(tmp_path, "tests.support.light_workers", str(tmp_path)) as server:
        url = server.url()
        workers = server.workers()
        server.process.kill()
        wait_until(lambda: is_refused(url))
        wait_until(lambda: not any(map(runs, workers)))


def test_failed_first_worker_is_reported_once(tmp_path: Path) -> None:
    with running(tmp_path, "tests.support.light_workers", str(tmp_path / "nowhere")) as server:
        assert server.process.wait(PATIENCE_S) == 1
        assert server.log_text == "no such folder\n"


def test_workers_killed_three_times_at_start_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "crash-3").touch()
    with running(tmp_path, "tests.support.light_workers", str(tmp_path)) as server:
        url = server.url()
        assert server.log_text.count("(signal 9, Killed); replacing it") == 3
        wait_until(lambda: len(server.workers()) == WORKERS)
        assert httpx.get(url, timeout=PATIENCE_S).status_code == 200
        assert server.stop() in (0, -signal.SIGTERM)


def test_worker_killed_while_the_others_start_is_replaced(tmp_path: Path) -> None:
    with running(tmp_path, "tests.support.light_workers", str(tmp_path)) as server:
        wait_until(lambda: len(server.workers()) == WORKERS)  # the first one is ready
        os.kill(max(server.workers()), signal.SIGKILL)
        url = server.url()
        wait_until(lambda: "replacing it" in server.log_text)
        wait_until(lambda: len(server.workers()) == WORKERS)
        assert httpx.get(url, timeout=PATIENCE_S).status_code == 200


def test_workers_killed_repeatedly_at_start_end_the_server(tmp_path: Path) -> None:
    (tmp_path / "crash").touch()
    with running(tmp_path, "tests.support.light_workers", str(tmp_path)) as server:
        assert server.process.wait(PATIENCE_S) == 1
        assert server.log_text.count("replacing it") == 3
        assert server.log_text.endswith("has exited (signal 9, Killed) at start-up\n")


def test_worker_reports_missing_checkpoint_like_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        worker_app(Settings(checkpoint=tmp_path / "nowhere", workers=WORKERS))
    assert ended.value.code == 1
    assert capsys.readouterr().err.count("no such checkpoint directory") == 1


def test_unavailable_address_is_reported_before_workers_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = mumic(monkeypatch, capsys, "serve", "--host", "192.0.2.1", "--workers", str(WORKERS))
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("mumic: port: cannot listen on")
