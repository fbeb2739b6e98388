"""Connections of slow and idle clients are closed; other clients are not affected."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPResponse

import httpx
import pytest
from fastapi import FastAPI

from app.core.classifier import Classifier
from app.main import create_app
from app.serving.process.connection import BoundedConnection
from app.settings import Settings
from tests.support.fakes import PATIENCE_S, FakeClassifier, FakeTower, wait_until
from tests.support.requests import metric, photo, raw
from tests.support.tiny import live_server

HEAD = (
    b"POST /predict HTTP/1.1\r\nhost: mumic\r\ncontent-type: image/jpeg\r\n"
    b"content-length: 100000\r\n\r\n"
)
SHORT_TIMEOUT = b"x-request-timeout-ms: 500\r\n"


@pytest.fixture
def hasty(tiny_classifier: Classifier, small_settings: Settings) -> FastAPI:
    """An app for a server that allows 1 s for a body; the app's own deadline is longer."""
    return create_app(small_settings, tiny_classifier)


@contextmanager
def connected(app: FastAPI) -> Iterator[tuple[socket.socket, httpx.Client]]:
    with (
        live_server(app, Settings(request_timeout_s=1.0)) as url,
        httpx.Client(base_url=url, timeout=20) as client,
        socket.create_connection((client.base_url.host, client.base_url.port or 0)) as connection,
    ):
        connection.settimeout(20)
        yield connection, client


def answered(connection: socket.socket) -> tuple[int, bytes]:
    """Read one whole response; head and body may arrive separately."""
    with HTTPResponse(connection) as answer:
        answer.begin()
        return answer.status, answer.read()


def closes_connection(connection: socket.socket, sent_meanwhile: bytes = b"") -> bool:
    """Whether the server closes a connection on which one byte is sent every 50 ms."""
    deadline = time.monotonic() + PATIENCE_S
    connection.settimeout(0.05)
    trickle = iter(sent_meanwhile)
    while time.monotonic() < deadline:
        try:
            if not connection.recv(2**16):
                return True
        except TimeoutError:
            pass
        except ConnectionError:
            return True
        try:
            if (byte := next(trickle, None)) is not None:
                connection.sendall(bytes([byte]))
        except ConnectionError:
            return True
    return False


@pytest.fixture
def aborted(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """An event that is set when the server aborts a connection because a limit was exceeded."""
    event = threading.Event()
    hang_up = BoundedConnection._hang_up

    def hang_up_and_set_event(connection: BoundedConnection) -> None:
        hang_up(connection)
        event.set()

    monkeypatch.setattr(BoundedConnection, "_hang_up", hang_up_and_set_event)
    return event


def send_until(aborted: threading.Event, connection: socket.socket, data: bytes) -> None:
    """Send data whenever the buffers have space, until the server aborts the connection."""
    connection.settimeout(0.05)
    left = memoryview(data)
    while left and not aborted.is_set():
        try:
            left = left[connection.send(left) :]
        except TimeoutError:
            continue
        except ConnectionError:
            break
    assert aborted.wait(PATIENCE_S)
    connection.settimeout(PATIENCE_S)


@pytest.mark.parametrize(
    ("sent", "trickle"),
    [(b"", b""), (b"POST /", b"a" * 1000), (b"\r\n", b"\r\n" * 500)],
    ids=["nothing", "half a head", "blank lines"],
)
def test_slow_head_closes_connection(
    hasty: FastAPI, monkeypatch: pytest.MonkeyPatch, sent: bytes, trickle: bytes
) -> None:
    monkeypatch.setattr(BoundedConnection, "head_s", 0.4)
    with connected(hasty) as (connection, client):
        with suppress(ConnectionError):  # a slow machine may exceed the limit before
            connection.sendall(sent)
        assert closes_connection(connection, trickle)
        monkeypatch.setattr(BoundedConnection, "head_s", PATIENCE_S)
        assert client.post("/predict", **raw(photo())).status_code == 200


@pytest.mark.parametrize("offer", [b"", b"connection: upgrade\r\nupgrade: websocket\r\n"])
def test_slow_body_gets_408(hasty: FastAPI, offer: bytes) -> None:
    with connected(hasty) as (connection, client):
        connection.sendall(HEAD[:-2] + SHORT_TIMEOUT + offer + b"\r\nsome")
        status, body = answered(connection)
        assert status == 408
        assert b"body_too_slow" in body
        assert client.post("/predict", **raw(photo())).status_code == 200


def test_trickling_body_after_408_closes_connection(
    hasty: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedConnection, "grace_s", 0.5)
    with connected(hasty) as (connection, _):
        connection.sendall(HEAD[:-2] + SHORT_TIMEOUT + b"\r\nsome")
        assert closes_connection(connection, b"x" * 1000)


def test_unread_response_closes_connection(
    hasty: FastAPI, monkeypatch: pytest.MonkeyPatch, aborted: threading.Event
) -> None:
    monkeypatch.setattr(BoundedConnection, "answer_s", 0.4)
    request = b"GET /labels HTTP/1.1\r\nhost: mumic\r\n\r\n"
    with connected(hasty) as (connection, client):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
        send_until(aborted, connection, request * 2000)  # the responses fill every buffer
        received = 0
        with suppress(ConnectionError):
            while data := connection.recv(2**20):
                received += len(data)
        assert 0 < received < 2000 * len(client.get("/labels").content)


def test_unread_end_of_response_closes_connection(
    hasty: FastAPI, monkeypatch: pytest.MonkeyPatch, aborted: threading.Event
) -> None:
    monkeypatch.setattr(BoundedConnection, "answer_s", 0.4)
    request = b"GET /openapi.json HTTP/1.1\r\nhost: mumic\r\n"
    last = b"connection: close\r\n\r\n"
    with (
        live_server(hasty, Settings(request_timeout_s=1.0)) as url,
        httpx.Client(base_url=url, timeout=20) as client,
        socket.socket() as connection,
    ):
        # The system's buffers hold little of so small packets.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 88)
        connection.settimeout(20)
        connection.connect((client.base_url.host, client.base_url.port or 0))
        connection.sendall((request + b"\r\n") * 5 + request + last)
        assert aborted.wait(PATIENCE_S)  # on a slow machine possibly before the last response
        received = 0
        with suppress(ConnectionError):
            while data := connection.recv(2**20):
                received += len(data)
        assert 0 < received < 6 * len(client.get("/openapi.json").content)


def test_blank_line_after_body_does_not_start_head(
    tiny_classifier: Classifier, small_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    tower = FakeTower()
    with connected(create_app(small_settings, FakeClassifier(tiny_classifier, tower))) as (
        connection,
        client,
    ):
        tower.go.clear()
        head = HEAD.replace(b"100000", b"%d" % len(photo()))
        connection.sendall(head + photo())
        wait_until(lambda: metric(client, "mumic_images_in_flight") == 1)
        monkeypatch.setattr(BoundedConnection, "head_s", 0.05)
        connection.sendall(b"\r\n")
        time.sleep(0.3)  # longer than the timer
        tower.go.set()
        assert answered(connection)[0] == 200


def test_idle_connection_between_requests_is_kept(
    hasty: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = b"GET /healthz HTTP/1.1\r\nhost: mumic\r\n\r\n"
    with connected(hasty) as (connection, _):
        for _ in range(3):
            connection.sendall(request)
            assert answered(connection)[0] == 200
            # Only now: on a slow machine the first request may arrive after 50 ms.
            monkeypatch.setattr(BoundedConnection, "head_s", 0.05)
            time.sleep(0.3)  # longer than the timer
