"""Clients that are slow, or do nothing at all, are let go; others notice nothing."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
import pytest
from fastapi import FastAPI

from app.core.classifier import Classifier
from app.main import create_app
from app.serving.connection import BoundedConnection
from app.settings import Settings
from tests.sending import metric, photo, raw
from tests.tiny import live_server

HEAD = (
    b"POST /predict HTTP/1.1\r\nhost: mumic\r\ncontent-type: image/jpeg\r\n"
    b"content-length: 100000\r\n\r\n"
)


@pytest.fixture
def hasty(tiny_classifier: Classifier, small_settings: Settings) -> FastAPI:
    settings = small_settings.model_copy(update={"request_timeout_s": 1.0})
    return create_app(settings, tiny_classifier)


@contextmanager
def connected(app: FastAPI) -> Iterator[tuple[socket.socket, httpx.Client]]:
    with (
        live_server(app, Settings(request_timeout_s=1.0)) as url,
        httpx.Client(base_url=url, timeout=20) as client,
        socket.create_connection((client.base_url.host, client.base_url.port or 0)) as connection,
    ):
        connection.settimeout(20)
        yield connection, client


def seconds_until_closed(connection: socket.socket, sent_meanwhile: bytes = b"") -> float:
    """How long the server keeps a connection, on which one byte is sent every 50 ms."""
    began = time.monotonic()
    connection.settimeout(0.05)
    trickle = iter(sent_meanwhile)
    while time.monotonic() < began + 20:
        try:
            if not connection.recv(2**16):
                break
        except TimeoutError:
            pass
        except ConnectionError:
            break
        try:
            if (byte := next(trickle, None)) is not None:
                connection.sendall(bytes([byte]))
        except ConnectionError:
            break
    return time.monotonic() - began


@pytest.mark.parametrize(
    ("sent", "trickle"),
    [(b"", b""), (b"POST /", b"a" * 1000), (b"\r\n", b"\r\n" * 500)],
    ids=["nothing", "half a head", "blank lines"],
)
def test_a_head_that_does_not_come_ends_the_connection(
    hasty: FastAPI, monkeypatch: pytest.MonkeyPatch, sent: bytes, trickle: bytes
) -> None:
    monkeypatch.setattr(BoundedConnection, "head_s", 0.4)
    with connected(hasty) as (connection, client):
        connection.sendall(sent)
        assert 0.3 < seconds_until_closed(connection, trickle) < 15
        assert client.post("/predict", **raw(photo())).status_code == 200


def test_a_body_that_does_not_come_in_time_is_told_so(hasty: FastAPI) -> None:
    with connected(hasty) as (connection, client):
        connection.sendall(HEAD + b"some")
        answer = connection.recv(2**16)
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"body_too_slow" in answer
        assert client.post("/predict", **raw(photo())).status_code == 200


def test_a_body_that_trickles_on_after_its_answer_ends_the_connection(
    hasty: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedConnection, "grace_s", 0.5)
    with connected(hasty) as (connection, _):
        connection.sendall(HEAD + b"some")
        assert seconds_until_closed(connection, b"x" * 1000) < 15


def test_an_answer_that_is_not_read_ends_the_connection(
    hasty: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedConnection, "answer_s", 0.4)
    request = b"GET /labels HTTP/1.1\r\nhost: mumic\r\n\r\n"
    with connected(hasty) as (connection, client):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
        connection.settimeout(0.2)
        with suppress(TimeoutError, ConnectionError):
            for _ in range(2000):  # far more than every buffer holds
                connection.sendall(request)
        answers = 'mumic_requests_total{route="/labels",status="200"}'
        answered = metric(client, answers)
        time.sleep(2)  # by then what fills the buffers is there, and nobody waits for the rest
        while (now := metric(client, answers)) != answered:
            answered = now
            time.sleep(2)
        received = 0
        with suppress(TimeoutError, ConnectionError):
            while data := connection.recv(2**20):
                received += len(data)
        assert 0 < received < 2000 * len(client.get("/labels").content)


def test_a_quiet_connection_between_requests_is_kept(
    hasty: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedConnection, "head_s", 0.3)
    monkeypatch.setattr(BoundedConnection, "grace_s", 0.0)
    request = b"GET /healthz HTTP/1.1\r\nhost: mumic\r\n\r\n"
    with connected(hasty) as (connection, _):
        for _ in range(2):
            connection.sendall(request)
            assert connection.recv(2**16).startswith(b"HTTP/1.1 200")
            time.sleep(0.7)
