"""The load generator, against a server of the standard library."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count

import pytest

from benchmarks.support.http import jpeg_request
from benchmarks.support.load_generator import LoadGenerator

RESPONSES = [(200, b'{"labels": []}'), (200, b"{}"), (429, b'{"code":"overloaded"}')]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    numbers = count()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        status, body = RESPONSES[next(self.numbers) % len(RESPONSES)]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_outcomes_name_status_code_and_unexpected_body(server: ThreadingHTTPServer) -> None:
    load = LoadGenerator(server.server_port, [jpeg_request(b"photo")], connections=1)
    with load.running():
        load.wait_for_more(2)
    assert set(load.outcomes) == {"200", "200 with an unexpected body", "429 overloaded"}
    assert len(load.completed) == load.outcomes["200"]
    assert set(load.failures()) == set(load.outcomes) - {"200"}


def test_refused_connection_ends_the_load() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # not listening
        load = LoadGenerator(bound.getsockname()[1], [jpeg_request(b"photo")], connections=2)
        with load.running():
            load.wait_for_total(1)
    assert set(load.outcomes) == {"ConnectionRefusedError"}
    assert load.outcomes.total() <= 2
