"""A trace collector: accepts OTLP over HTTP on a free loopback port."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Collector(ThreadingHTTPServer):
    """Stores the received exports.

    Attributes:
        exports: in the order of their arrival.
        go: while it is cleared, no request is answered.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.exports: list[ExportTraceServiceRequest] = []
        self.go = threading.Event()
        self.go.set()

    @property
    def url(self) -> str:
        """The value for `OTEL_EXPORTER_OTLP_ENDPOINT`."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def spans(self) -> list[tuple[dict[str, str], str]]:
        """Return each span's resource attributes and name."""
        return [
            ({pair.key: pair.value.string_value for pair in of.resource.attributes}, span.name)
            for export in self.exports
            for of in export.resource_spans
            for scope in of.scope_spans
            for span in scope.spans
        ]


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.go.wait(20)
        if self.path == "/v1/traces":
            self.server.exports.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector."""
    with Collector() as collector:
        threading.Thread(target=collector.serve_forever, args=[0.02], daemon=True).start()
        try:
            yield collector
        finally:
            collector.go.set()
            collector.shutdown()
