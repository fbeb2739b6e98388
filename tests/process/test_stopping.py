"""Graceful shutdown: requests sent before the signal are answered."""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from http.client import HTTPResponse
from typing import TypeVar

import pytest
import uvicorn

from app.core.classifier import Classifier
from app.main import create_app
from app.serving.listening import bind
from app.serving.process import Server, server_config
from app.serving.process.connection import BoundedConnection
from app.settings import Settings
from tests.support.fakes import PATIENCE_S, FakeClassifier, FakeTower, wait_until
from tests.support.requests import photo

T = TypeVar("T")
REQUEST = (
    b"POST /predict HTTP/1.1\r\nhost: mumic\r\ncontent-type: image/jpeg\r\n"
    b"content-length: %d\r\n\r\n%s" % (len(photo()), photo())
)


@pytest.fixture
def config(tiny_classifier: Classifier, small_settings: Settings) -> uvicorn.Config:
    return server_config(create_app(small_settings, tiny_classifier), small_settings)


def connected(address: tuple[str, int]) -> socket.socket:
    return socket.create_connection(address, 20)


def wait_until_refused(address: tuple[str, int]) -> None:
    def refused() -> bool:
        try:
            connected(address).close()
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:
            return False  # was in the accept backlog when the port closed
        return False

    wait_until(refused)


def read_status(client: socket.socket) -> int:
    """Read one whole response and return its status; head and body may arrive separately."""
    with HTTPResponse(client) as answer:
        answer.begin()
        answer.read()
        return answer.status


def received(client: socket.socket) -> bytes:
    """Read until the server closes the connection."""
    with client:
        return b"".join(iter(lambda: client.recv(2**16), b""))


def run(config: uvicorn.Config, story: Callable[[Server, socket.socket], Awaitable[T]]) -> T:
    """Run a scenario with a listening server in a new event loop."""
    config.load()
    server = Server(config)
    server.lifespan = config.lifespan_class(config)

    async def tell() -> T:
        with bind("127.0.0.1", 0) as bound:
            await server.startup([bound])
            return await story(server, bound)

    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        return runner.run(tell())


def test_shutdown_answers_requests_and_fails_readiness(
    config: uvicorn.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedConnection, "stop_s", 10)  # enough for a slow machine

    async def story(server: Server, bound: socket.socket) -> list[bytes]:
        address = bound.getsockname()
        kept, late, probe = connected(address), connected(address), connected(address)
        for client in (kept, late, probe):
            client.sendall(REQUEST)
            assert await asyncio.to_thread(read_status, client) == 200
        # The event loop is blocked here, so these connections stay in the accept backlog.
        waiting = [connected(address) for _ in range(8)]
        for client in (kept, *waiting):
            client.sendall(REQUEST)
        stopping = asyncio.create_task(server.shutdown([bound]))
        await asyncio.to_thread(wait_until_refused, address)
        await asyncio.sleep(0.2)
        late.sendall(REQUEST)
        probe.sendall(b"GET /readyz HTTP/1.1\r\nhost: mumic\r\n\r\n")
        await stopping
        not_ready = received(probe)
        assert not_ready.startswith(b"HTTP/1.1 503")
        assert b'"code":"draining"' in not_ready
        return [received(client) for client in (kept, late, *waiting)]

    answers = run(config, story)
    assert len(answers) == 10
    for answer in answers:
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in answer


@pytest.mark.parametrize("sent", [REQUEST, b""], ids=["request", "nothing"])
def test_connection_established_during_shutdown_is_closed(
    config: uvicorn.Config, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    """The event loop calls `connection_made` one iteration after it accepts a connection."""
    monkeypatch.setattr(BoundedConnection, "stop_s", 10 if sent else 0.1)
    monkeypatch.setattr(BoundedConnection, "head_s", 100)

    async def story(server: Server, bound: socket.socket) -> bytes:
        client, accepted = socket.socketpair()
        client.settimeout(20)
        connection = BoundedConnection(config, server.server_state, server.lifespan.state)
        stopping = asyncio.create_task(server.shutdown([bound]))
        await asyncio.sleep(0)  # it has now called `shutdown` on every connection it knows
        client.sendall(sent)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, accepted)
        await stopping
        return received(client)

    answer = run(config, story)
    assert answer.startswith(b"HTTP/1.1 200" if sent else b"")
    assert (b"connection: close" in answer) == bool(sent)


def test_shutdown_closes_idle_connection(
    config: uvicorn.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedConnection, "stop_s", 0.1)

    async def story(server: Server, bound: socket.socket) -> bytes:
        idle = connected(bound.getsockname())
        await server.shutdown([bound])
        return received(idle)

    assert run(config, story) == b""


def test_stuck_batch_or_decoder_does_not_delay_shutdown(
    tiny_classifier: Classifier, small_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.serving.inference.batcher.CLOSE_TIMEOUT_S", 0.1)
    monkeypatch.setattr(BoundedConnection, "stop_s", 0.1)
    go, decoding = threading.Event(), threading.Event()

    def stuck(*_: object) -> None:
        decoding.set()
        go.wait(60)

    tower = FakeTower()
    tower.go.clear()
    app = create_app(small_settings, FakeClassifier(tiny_classifier, tower))
    server = Server(server_config(app, small_settings))
    with bind("127.0.0.1", 0) as bound:
        serving = threading.Thread(target=server.run, args=[[bound]], daemon=True)
        serving.start()
        wait_until(lambda: server.started)
        with connected(bound.getsockname()) as disconnecting:
            disconnecting.sendall(REQUEST)
            wait_until(lambda: tower.batches == [1])
        monkeypatch.setattr("app.serving.inference.image_embedder.load_pixels", stuck)
        with connected(bound.getsockname()) as disconnecting:
            disconnecting.sendall(REQUEST)
            assert decoding.wait(PATIENCE_S)
        server.should_exit = True
        serving.join(15)  # less than the time limits of the fakes
        assert not serving.is_alive()
    tower.go.set()
    go.set()
