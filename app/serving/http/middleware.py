"""Middleware: request ids, answers to unexpected exceptions, metrics and the access log."""

import asyncio
import logging
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
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
logger = logging.getLogger("mumic.access")


class RequestContext:
    """Gives each request an id (`X-Request-ID`, from the client or new), counts and logs it.

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
            await self._app(scope, receive, send_with_headers)
        except ClientDisconnect:
            pass
        except Exception:
            logger.exception("Request %s failed", request_id)
            if status == CLIENT_CLOSED_REQUEST:
                await internal_problem(Request(scope))(scope, receive, send_with_headers)
        finally:
            body.give_back()
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "unmatched")
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
