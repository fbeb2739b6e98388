"""A reverse proxy that removes a path prefix, as nginx does with `proxy_pass http://host/;`."""

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

HOP_BY_HOP = ("connection", "content-encoding", "content-length", "date", "server")


@contextlib.contextmanager
def prefix_proxy(target: str, prefix: str) -> Iterator[str]:
    """Serve `target` below a prefix on a free loopback port; other paths get 404.

    Args:
        target: address of the server, without a slash at the end.
        prefix: path that requests begin with, such as `/mumic`.

    Yields:
        The proxy's address, with the prefix.
    """

    class Forward(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("content-length", 0))
            if not self.path.startswith(f"{prefix}/"):
                self.send_error(404)
                return
            answer = httpx.request(
                self.command,
                target + self.path.removeprefix(prefix),
                headers=[(n, v) for n, v in self.headers.items() if n.lower() not in HOP_BY_HOP],
                content=self.rfile.read(length),
                timeout=60,
            )
            self.send_response(answer.status_code)
            for name, value in answer.headers.items():
                if name not in HOP_BY_HOP:
                    self.send_header(name, value)
            self.send_header("content-length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def do_POST(self) -> None:
            self.do_GET()

        def do_DELETE(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Forward) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}{prefix}"
        server.shutdown()
