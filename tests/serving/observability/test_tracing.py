"""The spans of a trace: requests, images and steps, for success and failure."""

import socket

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode, format_span_id, format_trace_id

from app.core.classifier import Classifier
from tests.support.engine import in_flight, post_in_background
from tests.support.fakes import GOOD, PATIENCE_S, RAISES, FakeTower, grey_photo, wait_until
from tests.support.requests import json_body, metric, multipart, photo, raw, truncated
from tests.support.tracing import (
    PARENT,
    SPAN,
    TRACE,
    attributes,
    begin,
    children,
    end,
    id_of,
    names,
    requests_of,
    traced,
)


def test_image_spans_are_children_of_request_span(
    tiny_classifier: Classifier, exporter: InMemorySpanExporter
) -> None:
    with traced(tiny_classifier) as client:
        answer = client.post(
            "/predict",
            **multipart(photo(), truncated(), photo("coffee")),
            headers={"traceparent": PARENT},
        )
        assert answer.status_code == 200
    spans = exporter.get_finished_spans()
    (request,) = requests_of(spans)
    assert request.parent is not None
    assert request.parent.is_remote
    assert format_span_id(request.parent.span_id) == SPAN
    assert {format_trace_id(span.context.trace_id) for span in spans if span.context} == {TRACE}
    assert answer.headers["traceresponse"] == f"00-{TRACE}-{format_span_id(id_of(request))}-01"
    assert request.name == "POST /predict"
    assert (
        attributes(request).items()
        >= {
            "http.request.method": "POST",
            "http.route": "/predict",
            "http.response.status_code": 200,
            "url.path": "/predict",
            "url.scheme": "http",
        }.items()
    )
    assert request.status.status_code is StatusCode.UNSET

    images = sorted(
        children(spans, request), key=lambda span: attributes(span)["mumic.image.index"]
    )
    assert names(images) == ["image"] * 3
    steps = [children(spans, image) for image in images]
    assert list(map(names, steps)) == [
        ["decode", "queue", "infer"],
        ["decode"],
        ["decode", "queue", "infer"],
    ]
    assert attributes(images[1])["error.type"] == "corrupt"
    assert [image.status.is_ok for image in images] == [True, False, True]
    for _, queue, infer in (steps[0], steps[2]):
        assert end(queue) == begin(infer)
        assert attributes(infer)["mumic.batch.size"] in (1, 2)


def test_shared_batch_is_in_trace_of_each_request(
    tiny_classifier: Classifier, exporter: InMemorySpanExporter
) -> None:
    tower = FakeTower()
    with traced(tiny_classifier, tower) as client:
        tower.go.clear()
        first = post_in_background(client, grey_photo(GOOD))
        wait_until(lambda: tower.batches == [1])
        others = [post_in_background(client, grey_photo(GOOD)) for _ in range(2)]
        wait_until(lambda: metric(client, "mumic_decode_seconds_count") == 3)
        tower.go.set()
        for answer in (first, *others):
            assert answer.result(PATIENCE_S).status_code == 200
    spans = [span for span in exporter.get_finished_spans() if span.name == "infer"]
    assert sorted(attributes(span)["mumic.batch.size"] for span in spans) == [1, 2, 2]
    assert len({span.context.trace_id for span in spans if span.context}) == 3


def test_disconnected_client_ends_spans_with_error(
    tiny_classifier: Classifier, exporter: InMemorySpanExporter
) -> None:
    tower = FakeTower()
    with traced(tiny_classifier, tower, max_batch_size=1) as client:
        tower.go.clear()
        request = client.build_request("POST", "/predict", **multipart(*[grey_photo(GOOD)] * 2))
        head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        address = (client.base_url.host, client.base_url.port)
        with socket.create_connection(address) as leaving:
            leaving.sendall(f"POST /predict HTTP/1.1\r\n{head}\r\n".encode() + request.read())
            wait_until(lambda: metric(client, "mumic_decode_seconds_count") == 2)
            wait_until(lambda: tower.batches == [1])
        wait_until(lambda: in_flight(client) == 0)
    spans = exporter.get_finished_spans()
    (request_span,) = requests_of(spans)
    assert request_span.status.status_code is StatusCode.ERROR
    assert attributes(request_span)["error.type"] == "ConnectionError"
    assert "http.response.status_code" not in attributes(request_span)
    images = children(spans, request_span)
    assert [attributes(image)["error.type"] for image in images] == ["client_left"] * 2
    assert sorted(names(children(spans, image)) for image in images) == [
        ["decode", "queue"],
        ["decode", "queue", "infer"],
    ]


def test_failures_are_recorded_and_probes_are_not(
    tiny_classifier: Classifier, exporter: InMemorySpanExporter
) -> None:
    tower = FakeTower()
    one = {"max_images_per_request": 1, "max_queued_images": 1}
    with traced(tiny_classifier, tower, **one) as client:
        for path in ("/healthz", "/readyz", "/metrics"):
            assert "traceresponse" not in client.get(path).headers
        answers = [client.post("/predict", **raw(grey_photo(RAISES)))]
        tower.go.clear()
        waits = post_in_background(client, grey_photo(GOOD))
        answers += [client.post("/predict", **raw(grey_photo(GOOD))), client.post("/nowhere")]
        assert [answer.status_code for answer in answers] == [500, 429, 404]
        assert all("traceresponse" in answer.headers for answer in answers)
        assert client.request("PROPFIND", "/model").status_code == 405
        tower.go.set()
        assert waits.result(PATIENCE_S).status_code == 200
    spans = exporter.get_finished_spans()
    failed, _, full, nowhere, odd = requests_of(spans)
    assert attributes(failed)["error.type"] == "500"
    assert failed.status.status_code is StatusCode.ERROR
    (image,) = children(spans, failed)
    assert attributes(image)["error.type"] == "inference_failed"
    assert names(children(spans, image)) == ["decode", "queue", "infer"]
    for request, status in ((full, 429), (nowhere, 404), (odd, 405)):
        assert attributes(request)["http.response.status_code"] == status
        assert request.status.status_code is StatusCode.UNSET
        assert not children(spans, request)
    assert (nowhere.name, attributes(odd)["http.request.method"]) == ("POST", "_OTHER")


@pytest.mark.parametrize("path", ["/embed", "/zero-shot", "/validate", "/gallery"])
def test_all_image_routes_have_same_spans(
    tiny_classifier: Classifier, exporter: InMemorySpanExporter, path: str
) -> None:
    texts = ["a private text"]
    options = {"/zero-shot": {"labels": texts}, "/validate": {"declared": texts}}.get(path, {})
    with traced(tiny_classifier) as client:
        assert client.post(path, **raw(photo(), **options)).status_code == 200
        assert client.post(path, **json_body(photo(), **options)).status_code == 200
    spans = exporter.get_finished_spans()
    assert names(requests_of(spans)) == [f"POST {path}"] * 2
    for request in requests_of(spans):
        (image,) = children(spans, request)
        assert names(children(spans, image)) == ["decode", "queue", "infer"]
    assert not [span for span in spans if "private" in span.to_json()]


def test_spans_contain_no_query(
    tiny_classifier: Classifier, exporter: InMemorySpanExporter
) -> None:
    with traced(tiny_classifier) as client:
        assert client.get("/model", params={"labels": "private text"}).status_code == 200
    (request,) = requests_of(exporter.get_finished_spans())
    assert attributes(request)["url.query"] == "REDACTED"
    assert "private" not in request.to_json()


def test_requests_of_one_connection_have_separate_traces(
    tiny_classifier: Classifier, exporter: InMemorySpanExporter
) -> None:
    head = b"GET /model HTTP/1.1\r\nHost: mumic\r\n"
    with traced(tiny_classifier) as client:
        address = (client.base_url.host, client.base_url.port)
        with socket.create_connection(address, PATIENCE_S) as connection:
            connection.sendall(head + b"\r\n" + head + b"Connection: close\r\n\r\n")
            while connection.recv(65536):
                pass
    first, second = requests_of(exporter.get_finished_spans())
    assert first.context is not None
    assert second.context is not None
    assert first.context.trace_id != second.context.trace_id
