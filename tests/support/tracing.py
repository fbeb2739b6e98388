"""A traced server, and functions to inspect its spans."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

from app.core.classifier import Classifier
from app.main import create_app
from app.settings import Settings
from tests.support.fakes import PATIENCE_S, FakeClassifier, FakeTower
from tests.support.tiny import live_server

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


@contextmanager
def traced(
    classifier: Classifier, tower: FakeTower | None = None, **changed: Any
) -> Iterator[httpx.Client]:
    """Run a traced server; after the context its spans are exported."""
    if tower is not None:
        classifier = FakeClassifier(classifier, tower)
    with (
        live_server(create_app(Settings(traces=True, **changed), classifier)) as url,
        httpx.Client(base_url=url, timeout=PATIENCE_S) as client,
    ):
        try:
            yield client
        finally:
            if tower is not None:
                tower.go.set()


def children(spans: Sequence[ReadableSpan], parent: ReadableSpan) -> list[ReadableSpan]:
    """Return a span's children by start time; check that they lie within it."""
    found = [span for span in spans if span.parent and span.parent.span_id == id_of(parent)]
    for span in found:
        assert begin(parent) <= begin(span) <= end(span) <= end(parent)
    return sorted(found, key=begin)


def id_of(span: ReadableSpan) -> int:
    context = span.get_span_context()
    assert context is not None
    return context.span_id


def begin(span: ReadableSpan) -> int:
    assert span.start_time is not None
    return span.start_time


def end(span: ReadableSpan) -> int:
    assert span.end_time is not None
    return span.end_time


def names(spans: Sequence[ReadableSpan]) -> list[str]:
    return [span.name for span in spans]


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def requests_of(spans: Sequence[ReadableSpan]) -> list[ReadableSpan]:
    return sorted((span for span in spans if span.kind is SpanKind.SERVER), key=begin)
