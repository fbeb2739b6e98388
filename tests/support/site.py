"""A web site with one photo and malformed responses, for tests of the URL fetcher.

It listens on two loopback addresses: `PUBLIC` represents the internet, `INSIDE` a private network.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from tests.support.requests import photo

PUBLIC, INSIDE = "127.0.0.2", "127.0.0.1"
ANSWERS: dict[str, tuple[int, bytes, dict[str, str]]] = {
    "/photo.jpg": (200, photo(), {"Content-Type": "text/html"}),
    "/loop": (302, b"", {"Location": "/loop"}),
    "/nowhere": (302, b"", {}),
    "/large": (200, bytes(3 * 2**20), {}),
    "/zipped": (200, b"data", {"Content-Encoding": "gzip"}),
    "/text": (200, b"root:x:0:0:secret", {"Content-Type": "image/jpeg"}),
}


class Site(BaseHTTPRequestHandler):
    """Serves the photo, redirects, endless and malformed responses.

    Attributes:
        port: the port of both addresses.
        seen: the requested paths.
        hosts: the received Host headers.
        fields: the names of all received headers.
        server_stopping: ends slow responses.
    """

    port: int
    seen: ClassVar[list[str]]
    hosts: ClassVar[list[str]]
    fields: ClassVar[set[str]]

    def do_GET(self) -> None:
        self.seen.append(self.path)
        self.hosts.append(self.headers["Host"])
        self.fields.update(self.headers)
        path, _, rest = self.path.partition("?")
        match path:
            case "/redirect":
                self._send(302, b"", {"Location": rest})
            case "/endless":
                self.send_response(200)
                self.end_headers()
                while self._write(bytes(2**16)):
                    pass
            case "/slow":
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                while self._write(b"x") and not self.server_stopping.wait(0.05):
                    pass
            case "/garbage":
                self.wfile.write(b"no HTTP at all\r\n\r\n")
            case _:
                self._send(*ANSWERS.get(path, (404, b"", {})))

    server_stopping = threading.Event()

    def _write(self, data: bytes) -> bool:
        try:
            self.wfile.write(data)
        except OSError:
            return False
        return True

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self._write(body)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def running_site() -> Iterator[type[Site]]:
    """Run the site on both addresses with the same port."""

    class RunningSite(Site):
        seen: ClassVar[list[str]] = []
        hosts: ClassVar[list[str]] = []
        fields: ClassVar[set[str]] = set()
        server_stopping = threading.Event()

    outside = ThreadingHTTPServer((PUBLIC, 0), RunningSite)
    RunningSite.port = outside.server_address[1]
    inside = ThreadingHTTPServer((INSIDE, RunningSite.port), RunningSite)
    for server in (outside, inside):
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
    yield RunningSite
    RunningSite.server_stopping.set()
    for server in (outside, inside):
        server.shutdown()
        server.server_close()
