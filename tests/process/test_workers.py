"""`mumic serve --workers N`: several processes with one port and shared metrics."""

import os
import re
import signal
import socket
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.support.requests import metric, photo, raw
from tests.support.tiny import write_tiny
from tests.support.worker_processes import (
    PATIENCE_S,
    WORKERS,
    is_refused,
    running,
    serving,
    wait_until,
)

pytestmark = pytest.mark.slow

CONNECTIONS = 12  # one worker gets all of them with a probability of 1 in 2000


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
