"""A client's connection: nobody holds one, or what it has sent, for longer than is allowed."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class BoundedConnection(HttpToolsProtocol):
    """uvicorn's connection, closed where a request or the reading of an answer does not go on.

    uvicorn bounds only the time between an answer and the next request. A body has as long as the
    whole request, which uvicorn knows as the time that it lets requests finish when it stops.

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
        self._stopping = False
        self._await_request(self.head_s)  # one is made for each connection, as it is accepted

    def data_received(self, data: bytes) -> None:
        """Whatever comes is, or follows, a request's head."""
        if self._reading is None:
            self._await_request(self.head_s)
        super().data_received(data)

    def on_message_begin(self) -> None:
        """A head begins, maybe in the bytes that ended another request."""
        super().on_message_begin()
        if self._reading is None:
            self._await_request(self.head_s)

    def on_headers_complete(self) -> None:
        """A body is awaited."""
        super().on_headers_complete()
        self._keep_no_longer_when_stopping()
        self._await_request((self.config.timeout_graceful_shutdown or 0) + self.grace_s)

    def on_message_complete(self) -> None:
        """The request is here."""
        super().on_message_complete()
        _cancel(self._reading)
        self._reading = None

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
        self._stopping = True
        self._keep_no_longer_when_stopping()
        self.loop.call_later(self.stop_s, super().shutdown)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is awaited any more."""
        _cancel(self._reading)
        self._reading = None
        _cancel(self._writing)
        self._writing = None
        super().connection_lost(exc)

    def _keep_no_longer_when_stopping(self) -> None:
        if self._stopping and self.cycle is not None:
            self.cycle.keep_alive = False

    def _hang_up(self) -> None:
        self.transport.abort()

    def _await_request(self, seconds: float) -> None:
        _cancel(self._reading)
        self._reading = self.loop.call_later(seconds, self._hang_up)


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
