"""`mumic serve --workers N`: several processes with one port and shared metrics."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from app.cli import worker_app
from app.settings import Settings
from benchmarks.support.processes import tree
from tests.support import fakes
from tests.support.command import mumic
from tests.support.requests import metric, photo, raw
from tests.support.tiny import write_tiny

PATIENCE_S = 120  # importing torch takes several seconds on a busy machine
WORKERS = 2
CONNECTIONS = 12  # one worker gets all of them with a probability of 1 in 2000


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
        wait_until(lambda: ", 2 workers\n" in self.log_text)
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


def versions(url: str, times: int) -> set[str]:
    """Send requests on separate connections and return the model versions of the responses."""
    answers = [
        httpx.post(f"{url}/predict", **raw(photo()), timeout=PATIENCE_S) for _ in range(times)
    ]
    assert all(answer.status_code == 200 for answer in answers)
    return {answer.json()["model"]["version"] for answer in answers}


def half_a_request(url: str) -> tuple[socket.socket, bytes]:
    """Send half a request; return the connection and the unsent half."""
    data = photo()
    address = httpx.URL(url)
    connection = socket.create_connection((address.host, address.port or 0), PATIENCE_S)
    connection.sendall(
        b"POST /predict HTTP/1.1\r\nhost: mumic\r\ncontent-type: image/jpeg\r\n"
        b"content-length: %d\r\n\r\n" % len(data)
    )
    connection.sendall(data[:1000])
    return connection, data[1000:]


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


def test_workers_share_metrics_reload_and_drain(tmp_path: Path) -> None:
    write_tiny(tmp_path / "old", seed=1, version="1.0.0")
    write_tiny(tmp_path / "new", seed=2, version="2.0.0")
    place = tmp_path / "current"
    place.symlink_to("old")
    answered = 'mumic_requests_total{route="/predict",status="200"}'
    with serving(tmp_path, "--checkpoint", str(place)) as server, ExitStack() as connections:
        url = server.url()
        client = connections.enter_context(httpx.Client(base_url=url, timeout=PATIENCE_S))
        assert len(server.workers()) == WORKERS
        assert versions(url, 6) == {"1.0.0"}
        assert metric(client, answered) == 6
        metrics = client.get("/metrics").text
        for of_all in ("mumic_model_info", "mumic_build_info"):
            assert len(re.findall(rf"^{of_all}\{{.* 1.0$", metrics, re.MULTILINE)) == 1
        of_each = re.findall(
            r'^process_resident_memory_bytes\{pid="(\d+)"\}', metrics, re.MULTILINE
        )
        assert set(map(int, of_each)) == server.workers()

        place.unlink()
        place.symlink_to("new")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: 'version="1.0.0"} 0.0' in client.get("/metrics").text)
        wait_until(lambda: server.log_text.count("Checkpoint tiny 2.0.0") == WORKERS)
        assert versions(url, 6) == {"2.0.0"}

        begun = [half_a_request(url) for _ in range(CONNECTIONS)]
        for connection, _ in begun:
            connections.enter_context(connection)
        wait_until(lambda: metric(client, "mumic_request_bytes_in_flight") == 1000 * CONNECTIONS)
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: is_refused(url))
        for connection, rest in begun:
            connection.sendall(rest)
        for connection, _ in begun:
            assert connection.recv(2**16).startswith(b"HTTP/1.1 200")
        assert server.stop() in (0, -signal.SIGTERM)


def test_dead_or_hanging_worker_is_replaced_with_backoff(
    tmp_path: Path,
) -> None:
    crash = tmp_path / "crash"
    with running(tmp_path, "tests.support.light_workers", str(tmp_path)) as server:
        url = server.url()
        sent = 0

        def answering() -> set[int]:
            nonlocal sent
            sent += CONNECTIONS
            return {int(httpx.get(url, timeout=PATIENCE_S).text) for _ in range(CONNECTIONS)}

        def send_one(number: signal.Signals) -> int:
            pid = min(server.workers())
            os.kill(pid, number)
            return pid

        def all_answer_again(times: int) -> bool:
            return server.log_text.count("All workers are ready again") == times

        # In memory: on a full disk, writing to a memory-mapped file kills the process.
        with httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
            started = metric(client, "mumic_start_time_seconds")
            assert metric(client, "mumic_worker_restarts_total") == 0
        environment = Path(f"/proc/{min(server.workers())}/environ").read_bytes()
        assert b"\0PROMETHEUS_MULTIPROC_DIR=/dev/shm/" in environment

        server.process.send_signal(signal.SIGTTIN)  # uvicorn's signal to add a worker
        gone = send_one(signal.SIGKILL)
        wait_until(lambda: all_answer_again(1))
        wait_until(lambda: len(answering() - {gone}) == WORKERS)
        assert len(server.workers()) == WORKERS
        # The counters of the dead worker stay.
        with httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
            assert metric(client, 'mumic_requests_total{route="/",status="200"}') == sent
            assert metric(client, "mumic_worker_restarts_total") == 1
            assert metric(client, "mumic_start_time_seconds") == started
            assert metric(client, "mumic_images_in_flight") == WORKERS  # its gauges are removed

        crash.touch()
        gone = send_one(signal.SIGKILL)
        wait_until(
            lambda: (
                "(signal 9, Killed); replacing it. The next replacement waits at least 0.4 s"
                in server.log_text
            )
        )
        assert len(answering()) == WORKERS - 1
        crash.unlink()
        wait_until(lambda: all_answer_again(2))

        gone = send_one(signal.SIGSTOP)
        wait_until(lambda: all_answer_again(3))
        wait_until(lambda: len(answering() - {gone}) == WORKERS)
        assert server.log_text.count("waits at least 0.1 s") == 3

        send_one(signal.SIGSTOP)
        assert server.stop() in (0, -signal.SIGTERM)
        assert "does not exit; killing it" in server.log_text


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


@pytest.mark.parametrize("killed", [1, 3])
def test_worker_killed_at_start_is_replaced(tmp_path: Path, killed: int) -> None:
    (tmp_path / f"crash-{killed}").touch()
    with running(tmp_path, "tests.support.light_workers", str(tmp_path)) as server:
        url = server.url()
        assert server.log_text.count("(signal 9, Killed); replacing it") == killed
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
