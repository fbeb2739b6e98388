"""A client's connection: nobody holds one, or fills it, for longer or with more than is allowed."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

HEAD_BYTES = 64 * 1024
WHY = b"The request's address and headers have more than %d bytes." % HEAD_BYTES
TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: text/plain; charset=utf-8\r\n"
    b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (len(WHY), WHY)
)


class BoundedConnection(HttpToolsProtocol):
    """uvicorn's connection, closed where a request or the reading of an answer does not go on.

    uvicorn bounds only the time between an answer and the next request. A body has as long as the
    whole request, which uvicorn knows as the time that it lets requests finish when it stops.
    The parser keeps a line until it ends and a head until it is complete, however long they are.
    It takes a request that asks for another protocol to have no body, and what follows for that
    protocol; here such a request is read again as what it is besides.

    `HEAD_BYTES` are allowed for a head, and as many for what comes between a body's pieces.

    Attributes:
        head_s: for a request's head, from its first byte or the connection's begin.
        grace_s: for a body after the request's deadline: the application answers 408 before.
        answer_s: until a client that has stopped reading its answer goes on.
        stop_s: for a request that is on its way when the server stops.
    """

    head_s = 10.0
    grace_s = 5.0
    answer_s = 30.0
    stop_s = 1.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None
        self._refused = False  # what still comes is passed over
        self._unanswered: list[RequestResponseCycle] = []  # several, where a client does not wait
        self._unused_bytes = 0  # come since the parser last made something of what came
        self._await_request(self.head_s)  # one is made for each connection, as it is accepted

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Who leaves a single byte unread does not read, however little the answer has."""
        super().connection_made(cast(asyncio.Transport, transport))
        self.transport.set_write_buffer_limits(high=0)
        if self._is_stopping:  # the server was told to stop after it accepted this connection
            self.shutdown()

    def data_received(self, data: bytes) -> None:
        """Whatever comes is, or follows, a request's head, but for a blank line after a body."""
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
        """A head begins, maybe in the bytes that ended another request."""
        super().on_message_begin()
        self._unused_bytes = 0
        if self._reading is None:
            self._await_request(self.head_s)

    def on_headers_complete(self) -> None:
        """A body is awaited."""
        self._unused_bytes = 0
        if len(self.url) + sum(len(n) + len(v) for n, v in self.headers) > HEAD_BYTES:
            self._refuse_head()
            raise ValueError  # makes the parser stop
        if self.parser.get_method() == b"CONNECT":  # nothing is besides
            raise ValueError
        if self.parser.should_upgrade():  # and comes again without that
            return
        super().on_headers_complete()
        self._unanswered = [each for each in self._unanswered if not each.response_complete]
        self._unanswered.append(self.cycle)
        self._keep_no_longer_when_stopping()
        self._await_request((self.config.timeout_graceful_shutdown or 0) + self.grace_s)

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._unused_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is here."""
        if self.parser.should_upgrade():
            return
        super().on_message_complete()
        self._unused_bytes = 0
        self._await_nothing()

    def send_400_response(self, msg: str) -> None:
        """What came is no HTTP."""
        self._refuse(lambda: super(BoundedConnection, self).send_400_response(msg))

    def pause_writing(self) -> None:
        """The client does not read."""
        super().pause_writing()
        self._writing = self.loop.call_later(self.answer_s, self._hang_up)

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        _cancel(self._writing)
        self._writing = None

    def shutdown(self) -> None:
        """The server stops; uvicorn would lose a request that it has not yet begun to read."""
        self._keep_no_longer_when_stopping()
        self.loop.call_later(self.stop_s, super().shutdown)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is awaited any more; of several requests uvicorn would tell the last alone."""
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
                # The old one reads on only where the connection is to be kept.
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
        """The server's own state: it cannot reach a connection that is not yet made."""
        return bool(self.app_state.get("stopping"))

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _keep_no_longer_when_stopping(self) -> None:
        if self._is_stopping and self.cycle is not None:
            self.cycle.keep_alive = False

    def _refuse_head(self) -> None:
        self._refuse(self._hang_up if self._is_answering() else self._answer_too_large)

    def _refuse(self, end: Callable[[], None]) -> None:
        """Read no more. What has come whole and waits for its answer gets it before."""
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
        self.transport.write(TOO_LARGE)
        self.transport.close()

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
