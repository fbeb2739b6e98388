"""Distributed tracing: FastAPI's OpenTelemetry support, with child spans for images.

OpenTelemetry's SDK is an optional dependency: this module is imported only if tracing is enabled.
"""

import logging
import threading
import time

from fastapi.telemetry import TelemetryConfig
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import __version__
from app.errors import OptionError
from app.serving.observability.timings import Timings

UNTRACED = {"/healthz", "/readyz", "/metrics"}  # polled every few seconds
FLUSH_TIMEOUT_S = 5.0  # at shutdown; the collector may be down
logger = logging.getLogger("mumic.serving")


class Tracing:
    """The spans of an app. The OTEL_* variables configure exporter, sampler and resource.

    Attributes:
        telemetry: FastAPI's configuration of request spans.

    Raises:
        OptionError: an OTEL_* variable is invalid.
    """

    def __init__(self) -> None:
        defaults = Resource.create({"service.name": "mumic", "service.version": __version__})
        resource = defaults.merge(OTELResourceDetector().detect())
        try:
            self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
            self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        except ValueError as error:
            raise OptionError("traces", f"an OTEL_* variable is invalid: {error}") from error
        self._tracer = self._provider.get_tracer("mumic", __version__)
        self.telemetry: TelemetryConfig = {
            "tracer_provider": self._provider,
            "tracing": not isinstance(self._tracer, trace.NoOpTracer),  # OTEL_SDK_DISABLED=true
            "operation_spans": False,
            "exclude": lambda scope: scope["path"] in UNTRACED,
        }

    def complete_spans(self, app: ASGIApp) -> ASGIApp:
        """Wrap an app in middleware that adds the spans of images to the request's span."""

        async def traced(scope: Scope, receive: Receive, send: Send) -> None:
            request, state = trace.get_current_span(), scope.setdefault("state", {})
            context = request.get_span_context()
            if not context.is_valid:
                await app(scope, receive, send)
                return
            trace_id = state["trace_id"] = trace.format_trace_id(context.trace_id)
            span_id = trace.format_span_id(context.span_id)
            if scope["query_string"]:
                request.set_attribute("url.query", "REDACTED")  # it may contain texts

            async def send_with_header(message: Message) -> None:
                if message["type"] == "http.response.start":
                    header = f"00-{trace_id}-{span_id}-{context.trace_flags:02x}"
                    MutableHeaders(scope=message)["traceresponse"] = header
                await send(message)

            try:
                await app(scope, receive, send_with_header)
            finally:
                for index, timings in enumerate(state.get("timings", ())):
                    if timings.accepted:
                        error = state.get("code", "client_left")
                        _record_image(self._tracer, index, timings, error)

        return traced

    def flush(self) -> None:
        """Export the remaining spans, in at most `FLUSH_TIMEOUT_S`."""
        # In a thread, since shutdown() waits 30 s for a collector that does not answer.
        thread = threading.Thread(target=self._provider.shutdown, daemon=True)
        thread.start()
        thread.join(FLUSH_TIMEOUT_S)
        if thread.is_alive():
            logger.warning(
                "Spans are lost: the collector did not accept them in %g s", FLUSH_TIMEOUT_S
            )


def _record_image(tracer: trace.Tracer, index: int, timings: Timings, error: str) -> None:
    """Add an image's span, with a child for each step; `error` ended an unfinished image."""
    now, offset_ns = time.perf_counter(), time.time_ns() - time.perf_counter_ns()

    def epoch_ns(seconds: float) -> int:
        return offset_ns + int(seconds * 1e9)

    image = tracer.start_span("image", start_time=epoch_ns(timings.accepted))
    image.set_attribute("mumic.image.index", index)
    context, until = trace.set_span_in_context(image), now
    for name, began, until in timings.intervals(now):
        step = tracer.start_span(name, context, start_time=epoch_ns(began))
        if name == "infer":
            step.set_attribute("mumic.batch.size", timings.batch_size)
        step.end(epoch_ns(until))
    if timings.outcome != "ok":
        image.set_attribute("error.type", timings.outcome or error)
        image.set_status(trace.StatusCode.ERROR)
    image.end(epoch_ns(until))  # with its last step
