"""Distributed traces: a span for each request, and below it the way of each of its images.

OpenTelemetry is an extra, and this module is imported only where traces are asked for. The spans of
images are made when their request has been answered, from the times that are noted of every image:
nothing waits for a span.
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

# W3C's field for answers; `traceparent` is for requests alone.
TRACE_RESPONSE = "traceresponse"
SENT = ("traceparent", "tracestate")
PROPAGATOR = TraceContextTextMapPropagator()
NOT_TRACED = {"/healthz", "/readyz", "/metrics"}  # asked every few seconds, whatever happens
# Any other would be a name that a stranger chose.
METHODS = set("CONNECT DELETE GET HEAD OPTIONS PATCH POST PUT TRACE".split())
CLIENT_LEFT = "client_left"
DELIVERY_S = 5.0  # when the server stops; the collector may be down
logger = logging.getLogger("mumic.serving")


def trace_requests(app: FastAPI) -> Callable[[], None]:
    """Trace an app's requests, to where the OTEL_* variables say, until the server stops.

    Returns:
        What to call then: it delivers the spans that wait, in `DELIVERY_S` at most.

    Raises:
        OptionError: an OTEL_* variable cannot be used.
    """
    ours = {SERVICE_NAME: "mumic", SERVICE_VERSION: __version__}
    told = OTELResourceDetector().detect().attributes
    try:
        provider = TracerProvider(
            resource=Resource.create({**ours, **told}), shutdown_on_exit=False
        )
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    except ValueError as error:
        raise OptionError("traces", f"an OTEL_ variable cannot be used: {error}") from error
    tracer = provider.get_tracer("mumic", __version__)
    if not isinstance(tracer, NoOpTracer):  # as OTEL_SDK_DISABLED gives it
        app.add_middleware(TracedRequests, tracer=tracer)
    return partial(_deliver, provider)


class TracedRequests:
    """Makes a request's span, a child of the client's; tells it in the answer and in the log.

    The request's state gets `trace_id`; its `timings` are read when it has been answered.

    Args:
        app: what to wrap, with all that answers.
        tracer: makes the spans.
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
            context=PROPAGATOR.extract(_sent(scope)),
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

        async def send_told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[TRACE_RESPONSE] = _told(context)
            await send(message)

        try:
            await self._app(scope, receive, send_told)
        finally:
            ended = time.perf_counter()
            if span.is_recording():
                failure = _describe(span, scope, status)
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
        """Add what each image that was accepted went through until the request ended."""
        below_request = set_span_in_context(request)
        for index, stages in enumerate(images):
            if not stages.accepted:
                continue
            image = self._tracer.start_span(
                "image",
                below_request,
                attributes={"mumic.image.index": index},
                start_time=epoch_ns(stages.accepted),
            )
            below_image, until = set_span_in_context(image), ended
            for name, began, until in stages.intervals(ended):
                of_batch = {"mumic.batch.size": stages.batch_size} if name == "infer" else None
                stage = self._tracer.start_span(
                    name, below_image, attributes=of_batch, start_time=epoch_ns(began)
                )
                stage.end(epoch_ns(until))
            if stages.outcome != "ok":
                _fail(image, stages.outcome or failure)
            image.end(epoch_ns(until))  # of its last stage


def _epoch_clock() -> Callable[[float], int]:
    """From seconds of `time.perf_counter` to nanoseconds since 1970, as spans have them."""
    offset_ns = time.time_ns() - time.perf_counter_ns()
    return lambda seconds: offset_ns + int(seconds * 1e9)


def _name(scope: Scope) -> str:
    method = scope["method"] if scope["method"] in METHODS else "HTTP"
    route = getattr(scope.get("route"), "path", "")
    return f"{method} {route}".rstrip()


def _sent(scope: Scope) -> dict[str, str]:
    """The client's trace context. A field that is sent twice is one, joined (RFC 9110)."""
    headers = Headers(scope=scope)
    return {name: ",".join(values) for name in SENT if (values := headers.getlist(name))}


def _told(context: SpanContext) -> str:
    trace_id, span_id = format_trace_id(context.trace_id), format_span_id(context.span_id)
    return f"00-{trace_id}-{span_id}-{context.trace_flags:02x}"


def _describe(span: Span, scope: Scope, status: int) -> str:
    """Note what became of a request; gives why it failed, if it did."""
    if route := getattr(scope.get("route"), "path", ""):
        span.update_name(_name(scope))
        span.set_attribute(HTTP_ROUTE, route)
    if status:
        span.set_attribute(HTTP_RESPONSE_STATUS_CODE, status)
    failure = str(status) if status >= 500 else "" if status else CLIENT_LEFT
    if failure:
        _fail(span, failure)
    return failure


def _fail(span: Span, why: str) -> None:
    span.set_attribute(ERROR_TYPE, why)
    span.set_status(StatusCode.ERROR)


def _deliver(provider: TracerProvider) -> None:
    # The SDK would wait for half a minute, and its thread may be waiting for a collector.
    thread = threading.Thread(target=provider.shutdown, daemon=True)
    thread.start()
    thread.join(DELIVERY_S)
    if thread.is_alive():
        logger.warning("spans are lost: they were not delivered within %g s", DELIVERY_S)
