"""What every request gets: an id, an answer whatever happens, a count, a line in the log."""

import logging
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.serving.metrics import Metrics
from app.serving.problems import internal_problem

REQUEST_ID = "X-Request-ID"
VALID_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
CLIENT_LEFT = 499  # as nginx has it: no answer was begun
logger = logging.getLogger("mumic.access")


class RequestContext:
    """Names each request (`X-Request-ID`, taken or made), counts and logs its answer.

    Args:
        app: what to wrap.
        metrics: where to count.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sent = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = sent if VALID_ID.fullmatch(sent) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        started = time.perf_counter()
        status = CLIENT_LEFT

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_named)
        except ClientDisconnect:
            pass
        except Exception:
            logger.exception("request %s failed", request_id)
            if status == CLIENT_LEFT:
                await internal_problem(Request(scope))(scope, receive, send_named)
        finally:
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "unmatched")
            self._metrics.count_request(route, status, seconds)
            logger.info(
                "%s %s %d %.1f ms %s", scope["method"], route, status, seconds * 1000, request_id
            )
