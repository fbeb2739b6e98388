"""`mumic serve --workers N`: several processes, one port, one set of numbers."""

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
from benchmarks.processes import tree
from tests import fakes
from tests.command import mumic
from tests.sending import metric, photo, raw
from tests.tiny import write_tiny

PATIENCE_S = 120  # torch alone takes several on a busy machine
WORKERS = 2
CONNECTIONS = 12  # one worker alone gets all of them once in two thousand times


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what a worker does, which may have to start before."""
    fakes.wait_until(condition, PATIENCE_S)


class Running:
    """Several workers and what they say."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def said(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def url(self) -> str:
        wait_until(lambda: ", 2 workers\n" in self.said)
        found = re.search(r"MuMIC listens on (http://\S+:\d+): .*, 2 workers", self.said)
        assert found
        return found[1]

    def workers(self) -> set[int]:
        """Those that serve: the supervisor and multiprocessing's own helper hold no model."""
        return {
            pid
            for pid in tree(self.process.pid)[1:]
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
        }

    def ends(self) -> int:
        """Its exit code, once nothing of it is left."""
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
    """Who answers `times` requests: a connection each, or one worker would get them all."""
    answers = [
        httpx.post(f"{url}/predict", **raw(photo()), timeout=PATIENCE_S) for _ in range(times)
    ]
    assert all(answer.status_code == 200 for answer in answers)
    return {answer.json()["model"]["version"] for answer in answers}


def half_a_request(url: str) -> tuple[socket.socket, bytes]:
    """A connection on which half of a photo has been sent, and the other half."""
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
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""  # as it is of one not yet reaped
    except OSError:
        return False


def is_refused(url: str) -> bool:
    try:
        httpx.get(f"{url}/healthz", timeout=PATIENCE_S)
    except httpx.ConnectError:
        return True
    except httpx.TransportError:
        return False  # still in the backlog when a worker closed its port
    return False


def test_workers_add_up_change_over_together_and_answer_before_they_end(tmp_path: Path) -> None:
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
        told = client.get("/metrics").text
        for of_all in ("mumic_model_info", "mumic_build_info"):
            assert len(re.findall(rf"^{of_all}\{{.* 1.0$", told, re.MULTILINE)) == 1
        of_each = re.findall(r'^process_resident_memory_bytes\{pid="(\d+)"\}', told, re.MULTILINE)
        assert set(map(int, of_each)) == server.workers()

        place.unlink()
        place.symlink_to("new")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: 'version="1.0.0"} 0.0' in client.get("/metrics").text)
        assert server.said.count("checkpoint tiny 2.0.0") == WORKERS
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
        assert server.ends() in (0, -signal.SIGTERM)


def test_a_worker_that_ends_or_is_silent_is_replaced_and_not_at_once_for_ever(
    tmp_path: Path,
) -> None:
    hopeless = tmp_path / "hopeless"
    with running(tmp_path, "tests.light_workers", str(tmp_path)) as server:
        url = server.url()
        asked = 0

        def answering() -> set[int]:
            nonlocal asked
            asked += CONNECTIONS
            return {int(httpx.get(url, timeout=PATIENCE_S).text) for _ in range(CONNECTIONS)}

        def send_one(number: signal.Signals) -> int:
            pid = min(server.workers())
            os.kill(pid, number)
            return pid

        def all_answer_again(times: int) -> bool:
            return server.said.count("all workers answer again") == times

        # In memory: a full disk would end who writes to a file that is mapped.
        with httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
            started = metric(client, "mumic_start_time_seconds")
            assert metric(client, "mumic_worker_restarts_total") == 0
        environment = Path(f"/proc/{min(server.workers())}/environ").read_bytes()
        assert b"\0PROMETHEUS_MULTIPROC_DIR=/dev/shm/" in environment

        server.process.send_signal(signal.SIGTTIN)  # uvicorn's signal for one worker more
        gone = send_one(signal.SIGKILL)
        wait_until(lambda: all_answer_again(1))
        wait_until(lambda: len(answering() - {gone}) == WORKERS)
        assert len(server.workers()) == WORKERS
        with httpx.Client(
            base_url=url, timeout=PATIENCE_S
        ) as client:  # what the dead one counted stays
            assert metric(client, 'mumic_requests_total{route="/",status="200"}') == asked
            assert metric(client, "mumic_worker_restarts_total") == 1
            assert metric(client, "mumic_start_time_seconds") == started
            assert metric(client, "mumic_images_in_flight") == WORKERS  # and what it held is not

        hopeless.touch()
        gone = send_one(signal.SIGKILL)
        wait_until(
            lambda: (
                "(signal 9, Killed), another is started; if that ends too, the next in 0.4 s"
                in server.said
            )
        )
        assert len(answering()) == WORKERS - 1
        hopeless.unlink()
        wait_until(lambda: all_answer_again(2))

        gone = send_one(signal.SIGSTOP)
        wait_until(lambda: all_answer_again(3))
        wait_until(lambda: len(answering() - {gone}) == WORKERS)
        assert server.said.count("the next in 0.1 s") == 3

        send_one(signal.SIGSTOP)
        assert server.ends() in (0, -signal.SIGTERM)
        assert "does not end and is killed" in server.said


def test_workers_end_once_their_supervisor_has_been_killed(tmp_path: Path) -> None:
    with running(tmp_path, "tests.light_workers", str(tmp_path)) as server:
        url = server.url()
        workers = server.workers()
        server.process.kill()
        wait_until(lambda: is_refused(url))
        wait_until(lambda: not any(map(runs, workers)))


def test_what_the_first_worker_refuses_is_said_once_and_nothing_stays(tmp_path: Path) -> None:
    with running(tmp_path, "tests.light_workers", str(tmp_path / "nowhere")) as server:
        assert server.process.wait(PATIENCE_S) == 1
        assert server.said == "no such folder\n"


def test_a_worker_refuses_a_checkpoint_as_the_command_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        worker_app(Settings(checkpoint=tmp_path / "nowhere", workers=WORKERS))
    assert ended.value.code == 1
    assert capsys.readouterr().err.count("no such checkpoint directory") == 1


def test_an_address_that_cannot_be_had_is_said_before_a_worker_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = mumic(monkeypatch, capsys, "serve", "--host", "192.0.2.1", "--workers", str(WORKERS))
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("mumic: port: cannot listen on")
