"""Middleware: request ids, metrics and the access log, CORS, compression, unexpected exceptions."""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Sequence

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.serving.http.problems import internal_problem
from app.serving.observability import Metrics
from app.serving.request import ByteBudget, Share

REQUEST_ID = "X-Request-ID"
VALID_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
CLIENT_CLOSED_REQUEST = 499  # nginx's status: the client left before the response began
REQUEST_LINE = (
    "%(method)s %(route)s %(status)d %(duration_ms).1f ms %(request_id)s %(client)s %(code)s"
)
# For browsers. /docs sets its own Content-Security-Policy.
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
# What a page may read besides the body; Authorization and all other request headers are allowed.
EXPOSED_HEADERS = (REQUEST_ID, "Retry-After", "Server-Timing", "WWW-Authenticate", "traceresponse")
# docs/performance.md has the cost of each level. Smaller responses are not worth the time.
GZIP_LEVEL, MIN_GZIP_BYTES = 1, 4096
MIN_GZIP_BYTES_IN_THREAD = 32 * 1024  # compressed on the event loop, this takes 0.4 ms
NOT_COMPRESSED = (*DEFAULT_EXCLUDED_CONTENT_TYPES, "application/x-npy")  # float32 hardly shrinks
GZIP_NAMES = ("gzip", "x-gzip", "*")
REFUSED = re.compile(r"q\s*=\s*0(\.0*)?")  # by a quality of 0, RFC 9110, 12.4.2
logger = logging.getLogger("mumic.access")


def add_middleware(
    app: FastAPI, metrics: Metrics, budget: ByteBudget, allow_origins: Sequence[str]
) -> None:
    """Add all middleware. `RequestContext` is outermost, so that it sees every response.

    Args:
        app: the app.
        metrics: counts requests.
        budget: bounds the bytes of all bodies.
        allow_origins: origins whose pages may use the API, or `*`.
    """
    app.add_middleware(UnexpectedErrors)
    app.add_middleware(
        Compression,
        minimum_size=MIN_GZIP_BYTES,
        compresslevel=GZIP_LEVEL,
        thread_minimum_size=MIN_GZIP_BYTES_IN_THREAD,
        exclude_content_types=NOT_COMPRESSED,
    )
    if allow_origins:
        # Without credentials: keys are sent in headers, and cookies are not used.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=allow_origins,
            allow_methods=("GET", "HEAD", "POST"),
            allow_headers=("*",),
            expose_headers=EXPOSED_HEADERS,
        )
    app.add_middleware(RequestContext, metrics=metrics, budget=budget)


class RequestContext:
    """Gives each request an id (`X-Request-ID`, from the client or new), counts and logs it.

    HEAD is handled as GET; the server omits the body of its response.

    The request's state has `request_id`, `arrived` (event-loop time) and `body`, the `Share` of the
    byte budget that the body uses until the request is answered.

    Args:
        app: the wrapped ASGI app.
        metrics: counts requests.
        budget: bounds the bytes of all bodies.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, budget: ByteBudget) -> None:
        self._app = app
        self._metrics = metrics
        self._budget = budget

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sent = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = sent if VALID_ID.fullmatch(sent) else uuid.uuid4().hex
        body = Share(self._budget)
        scope.setdefault("state", {}).update(
            request_id=request_id, arrived=asyncio.get_running_loop().time(), body=body
        )
        # The router adds the route to its scope; the server's scope must keep the method.
        handled = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        started = time.perf_counter()
        status = CLIENT_CLOSED_REQUEST

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = request_id
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(handled, receive, send_with_headers)
        except ClientDisconnect:
            pass
        finally:
            body.give_back()
            seconds = time.perf_counter() - started
            route = getattr(handled.get("route"), "path", "unmatched")
            self._metrics.requests.count(route, status, seconds)
            event = {
                "method": scope["method"],
                "route": route,
                "status": status,
                "duration_ms": round(seconds * 1000, 1),
                "request_id": request_id,
                "client": scope["state"].get("client", "-"),
                "code": scope["state"].get("code", "-"),
            }
            if trace_id := scope["state"].get("trace_id"):
                event["trace_id"] = trace_id
            logger.info(REQUEST_LINE, event, extra={"event": event})


class Compression(GZipMiddleware):
    """Compresses large responses for clients that accept gzip.

    Starlette only searches the header for `gzip`, so the header is replaced by the decision.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http":
            headers = MutableHeaders(scope=scope)
            sent = ",".join(headers.getlist("Accept-Encoding"))
            headers["Accept-Encoding"] = "gzip" if accepts_gzip(sent) else "identity"
        await super().__call__(scope, receive, send)


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header (RFC 9110, 12.5.3) accepts gzip.

    `*` stands for gzip if gzip is not named.
    """
    accepted: dict[str, bool] = {}
    for item in accept_encoding.lower().split(","):
        name, _, quality = item.partition(";")
        accepted.setdefault(name.strip(), not REFUSED.fullmatch(quality.strip()))
    return next((accepted[name] for name in GZIP_NAMES if name in accepted), False)


class UnexpectedErrors:
    """Answers an unexpected exception with a 500 problem and logs it with the request's id.

    Args:
        app: the wrapped ASGI app.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_and_remember(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, send_and_remember)
        except ClientDisconnect:
            raise
        except Exception:
            logger.exception("Request %s failed", scope["state"]["request_id"])
            if not started:
                await internal_problem(Request(scope))(scope, receive, send)
