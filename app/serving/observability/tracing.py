"""Distributed tracing: a span per request, with child spans for its images and their steps.

OpenTelemetry is an optional dependency, so this module is imported only if tracing is enabled. The
spans of images are created from their `Timings` once the request is answered: tracing adds no work
while an image is processed.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial

from fastapi import FastAPI
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import (
    SERVICE_NAME,
    SERVICE_VERSION,
    OTELResourceDetector,
    Resource,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.semconv.attributes.http_attributes import (
    HTTP_REQUEST_METHOD,
    HTTP_RESPONSE_STATUS_CODE,
    HTTP_ROUTE,
)
from opentelemetry.semconv.attributes.url_attributes import URL_PATH, URL_SCHEME
from opentelemetry.trace import (
    NoOpTracer,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    Tracer,
    format_span_id,
    format_trace_id,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import __version__
from app.errors import OptionError
from app.serving.observability.timings import Timings

# The W3C response header; `traceparent` is a request header.
TRACE_RESPONSE = "traceresponse"
REQUEST_HEADERS = ("traceparent", "tracestate")
PROPAGATOR = TraceContextTextMapPropagator()
NOT_TRACED = {"/healthz", "/readyz", "/metrics"}  # polled every few seconds
# Other methods become `_OTHER` (semantic conventions): clients must not choose span names.
METHODS = set("CONNECT DELETE GET HEAD OPTIONS PATCH POST PUT TRACE".split())
CLIENT_LEFT = "client_left"
FLUSH_TIMEOUT_S = 5.0  # at shutdown; the collector may be down
logger = logging.getLogger("mumic.serving")


def trace_requests(app: FastAPI) -> Callable[[], None]:
    """Trace an app's requests. The OTEL_* variables configure exporter, sampler and resource.

    Returns:
        A function to call at shutdown: it exports the remaining spans, in at most
        `FLUSH_TIMEOUT_S`.

    Raises:
        OptionError: an OTEL_* variable is invalid.
    """
    defaults = {SERVICE_NAME: "mumic", SERVICE_VERSION: __version__}
    configured = OTELResourceDetector().detect().attributes
    try:
        provider = TracerProvider(
            resource=Resource.create({**defaults, **configured}), shutdown_on_exit=False
        )
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    except ValueError as error:
        raise OptionError("traces", f"an OTEL_* variable is invalid: {error}") from error
    tracer = provider.get_tracer("mumic", __version__)
    if not isinstance(tracer, NoOpTracer):  # with OTEL_SDK_DISABLED=true
        app.add_middleware(RequestTracing, tracer=tracer)
    return partial(_flush, provider)


class RequestTracing:
    """ASGI middleware that creates a request's span, as a child of the client's span.

    It sets `trace_id` in the request's state, for the access log, and reads the images' `timings`
    from there once the request is answered.

    Args:
        app: the wrapped ASGI app.
        tracer: creates the spans.
    """

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http" or scope["path"] in NOT_TRACED:
            await self._app(scope, receive, send)
            return
        epoch_ns = _epoch_clock()
        span = self._tracer.start_span(
            _name(scope),
            context=PROPAGATOR.extract(_trace_headers(scope)),
            kind=SpanKind.SERVER,
            attributes={
                HTTP_REQUEST_METHOD: scope["method"] if scope["method"] in METHODS else "_OTHER",
                URL_PATH: scope["path"],  # without the query, which may hold texts
                URL_SCHEME: scope["scheme"],
            },
            start_time=epoch_ns(time.perf_counter()),
        )
        context = span.get_span_context()
        scope.setdefault("state", {})["trace_id"] = format_trace_id(context.trace_id)
        status = 0

        async def send_with_header(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[TRACE_RESPONSE] = _trace_response(context)
            await send(message)

        try:
            await self._app(scope, receive, send_with_header)
        finally:
            ended = time.perf_counter()
            if span.is_recording():
                failure = _set_result(span, scope, status)
                images = scope["state"].get("timings", ())
                self._add_images(span, images, failure, ended, epoch_ns)
            span.end(epoch_ns(ended))

    def _add_images(
        self,
        request: Span,
        images: Iterable[Timings],
        failure: str,
        ended: float,
        epoch_ns: Callable[[float], int],
    ) -> None:
        """Add a span for each accepted image, and one for each of its steps."""
        in_request = set_span_in_context(request)
        for index, timings in enumerate(images):
            if not timings.accepted:
                continue
            image = self._tracer.start_span(
                "image",
                in_request,
                attributes={"mumic.image.index": index},
                start_time=epoch_ns(timings.accepted),
            )
            in_image, until = set_span_in_context(image), ended
            for name, began, until in timings.intervals(ended):
                batch = {"mumic.batch.size": timings.batch_size} if name == "infer" else None
                step = self._tracer.start_span(
                    name, in_image, attributes=batch, start_time=epoch_ns(began)
                )
                step.end(epoch_ns(until))
            if timings.outcome != "ok":
                _set_error(image, timings.outcome or failure)
            image.end(epoch_ns(until))  # with its last step


def _epoch_clock() -> Callable[[float], int]:
    """Return a function from `time.perf_counter` seconds to nanoseconds since the epoch."""
    offset_ns = time.time_ns() - time.perf_counter_ns()
    return lambda seconds: offset_ns + int(seconds * 1e9)


def _name(scope: Scope) -> str:
    method = scope["method"] if scope["method"] in METHODS else "HTTP"
    route = getattr(scope.get("route"), "path", "")
    return f"{method} {route}".rstrip()


def _trace_headers(scope: Scope) -> dict[str, str]:
    """Return the client's trace context; repeated headers are joined (RFC 9110)."""
    headers = Headers(scope=scope)
    return {name: ",".join(values) for name in REQUEST_HEADERS if (values := headers.getlist(name))}


def _trace_response(context: SpanContext) -> str:
    trace_id, span_id = format_trace_id(context.trace_id), format_span_id(context.span_id)
    return f"00-{trace_id}-{span_id}-{context.trace_flags:02x}"


def _set_result(span: Span, scope: Scope, status: int) -> str:
    """Set a request span's name, route, status and error; return the error, "" if there is none."""
    if route := getattr(scope.get("route"), "path", ""):
        span.update_name(_name(scope))
        span.set_attribute(HTTP_ROUTE, route)
    if status:
        span.set_attribute(HTTP_RESPONSE_STATUS_CODE, status)
    failure = str(status) if status >= 500 else "" if status else CLIENT_LEFT
    if failure:
        _set_error(span, failure)
    return failure


def _set_error(span: Span, error: str) -> None:
    span.set_attribute(ERROR_TYPE, error)
    span.set_status(StatusCode.ERROR)


def _flush(provider: TracerProvider) -> None:
    # In a thread, since shutdown() waits 30 s for a collector that does not answer.
    thread = threading.Thread(target=provider.shutdown, daemon=True)
    thread.start()
    thread.join(FLUSH_TIMEOUT_S)
    if thread.is_alive():
        logger.warning("spans are lost: the collector did not accept them in %g s", FLUSH_TIMEOUT_S)
