"""uvicorn's HTTP connection with limits on the time and bytes of each phase of a request."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

HEAD_BYTES = 64 * 1024
TOO_LARGE_TEXT = b"The request's path and headers have more than %d bytes." % HEAD_BYTES
TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: text/plain; charset=utf-8\r\n"
    b"content-length: %d\r\nconnection: close\r\n" % len(TOO_LARGE_TEXT)
)


class BoundedConnection(HttpToolsProtocol):
    """Closes a connection whose client sends a request, or reads a response, too slowly.

    uvicorn limits only the idle time between requests. This class adds these limits:

    - The head (request line and headers) must arrive in time and have at most `HEAD_BYTES`. The
      same number of bytes is allowed between the chunks of a body. The parser has no such limit.
    - The body must arrive before the request's deadline, which uvicorn has as
      `timeout_graceful_shutdown`.
    - The client must keep reading its response.

    It also ignores `Upgrade` headers. httptools treats everything after such a head as another
    protocol, so the head is parsed a second time without the header.

    docs/adr/0008-uvicorn-subclass.md has the reasons.

    Attributes:
        head_s: seconds for a head, from its first byte or from the start of the connection.
        grace_s: seconds for a body after the deadline, when the application answers 408.
        answer_s: seconds that a client may pause while it reads a response.
        stop_s: seconds in which a new request is still accepted during shutdown.
    """

    head_s = 10.0
    grace_s = 5.0
    answer_s = 30.0
    stop_s = 1.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None
        self._refused = False  # further input is ignored
        self._unanswered: list[RequestResponseCycle] = []  # several with HTTP pipelining
        self._unused_bytes = 0  # received since the parser's last callback
        self._await_request(self.head_s)  # instances are created when a connection is accepted

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Report a paused client from the first unread byte, also for small responses."""
        super().connection_made(cast(asyncio.Transport, transport))
        self.transport.set_write_buffer_limits(high=0)
        if self._is_stopping:  # shutdown began after this connection was accepted
            self.shutdown()

    def data_received(self, data: bytes) -> None:
        """Parse input. Unless a response is pending, it begins or continues a head."""
        self._unset_keepalive_if_required()
        if self._refused:
            return
        if self._reading is None and not self._is_answering():
            self._await_request(self.head_s)
        self._unused_bytes += len(data)
        try:
            self._parse(data)
        except HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        if self._unused_bytes > HEAD_BYTES:
            self._refuse_head()

    def on_message_begin(self) -> None:
        """Start the timer of a head, which may begin in the same bytes as another request ends."""
        super().on_message_begin()
        self._unused_bytes = 0
        if self._reading is None:
            self._await_request(self.head_s)

    def on_headers_complete(self) -> None:
        """Check the size of the head and start the timer of the body."""
        self._unused_bytes = 0
        if len(self.url) + sum(len(n) + len(v) for n, v in self.headers) > HEAD_BYTES:
            self._refuse_head()
            raise ValueError  # makes the parser stop
        if self.parser.get_method() == b"CONNECT":  # it cannot be served as plain HTTP
            raise ValueError
        if self.parser.should_upgrade():  # the head is parsed again without the header
            return
        super().on_headers_complete()
        self._unanswered = [each for each in self._unanswered if not each.response_complete]
        self._unanswered.append(self.cycle)
        self._keep_no_longer_when_stopping()
        self._await_request((self.config.timeout_graceful_shutdown or 0) + self.grace_s)

    def on_body(self, body: bytes) -> None:
        """Store a chunk of the body."""
        self._unused_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Stop the timer: the request is complete."""
        if self.parser.should_upgrade():
            return
        super().on_message_complete()
        self._unused_bytes = 0
        self._await_nothing()

    def send_400_response(self, msg: str) -> None:
        """Answer input that is not valid HTTP."""
        self._refuse(lambda: super(BoundedConnection, self).send_400_response(msg))

    def pause_writing(self) -> None:
        """Start a timer: the client has stopped reading."""
        super().pause_writing()
        self._writing = self.loop.call_later(self.answer_s, self._hang_up)

    def resume_writing(self) -> None:
        """Stop the timer: the client reads again."""
        super().resume_writing()
        _cancel(self._writing)
        self._writing = None

    def shutdown(self) -> None:
        """Begin shutdown. uvicorn would close at once and lose a request that is just arriving."""
        self._keep_no_longer_when_stopping()
        self.loop.call_later(self.stop_s, super().shutdown)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel timers and notify all pipelined requests; uvicorn notifies only the last."""
        for cycle in self._unanswered:
            cycle.disconnected = not cycle.response_complete
            cycle.message_event.set()
        self._await_nothing()
        _cancel(self._writing)
        self._writing = None
        super().connection_lost(exc)

    def _parse(self, data: bytes) -> None:
        while True:
            try:
                self.parser.feed_data(data)
            except HttpParserUpgrade as asked:
                data = self._head_without_upgrade() + data[asked.args[0] :]
                # The old parser reads on only on a keep-alive connection.
                self.parser = HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            else:
                return

    def _head_without_upgrade(self) -> bytes:
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (method, self.url, version)]
        lines += [b"%b: %b" % each for each in self.headers if each[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    @property
    def _is_stopping(self) -> bool:
        """The server's state; it cannot notify a connection before `connection_made`."""
        return bool(self.app_state.get("stopping"))

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _keep_no_longer_when_stopping(self) -> None:
        if self._is_stopping and self.cycle is not None:
            self.cycle.keep_alive = False

    def _refuse_head(self) -> None:
        self._refuse(self._hang_up if self._is_answering() else self._answer_too_large)

    def _refuse(self, end: Callable[[], None]) -> None:
        """Stop reading, and close after the responses to complete requests, or by `end`."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        whole = [
            each for each in self._unanswered if not each.response_complete and not each.more_body
        ]
        if whole:
            self._await_nothing()
            whole[-1].keep_alive = False
        else:
            end()

    def _answer_too_large(self) -> None:
        self.transport.write(TOO_LARGE + self._cors_header() + b"\r\n" + TOO_LARGE_TEXT)
        self.transport.close()

    def _cors_header(self) -> bytes:
        """Return the header with which a browser shows this response to an allowed page."""
        allowed = self.app_state.get("allow_origins", ())
        for name, origin in self.headers:
            if name == b"origin" and {"*", origin.decode("latin-1")} & set(allowed):
                value = b"*" if "*" in allowed else origin
                return b"access-control-allow-origin: %b\r\nvary: origin\r\n" % value
        return b""

    def _hang_up(self) -> None:
        self.transport.abort()

    def _await_request(self, seconds: float) -> None:
        _cancel(self._reading)
        self._reading = self.loop.call_later(seconds, self._hang_up)

    def _await_nothing(self) -> None:
        _cancel(self._reading)
        self._reading = None


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
