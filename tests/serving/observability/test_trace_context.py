"""Trace context and export: traceparent, traceresponse, sampling, collectors."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from app.core.classifier import Classifier
from app.serving.observability.logs import JsonFormatter
from tests.support.command import mumic
from tests.support.fakes import wait_until
from tests.support.requests import photo, raw
from tests.support.site import running_site
from tests.support.trace_collector import collecting
from tests.support.tracing import PARENT, SPAN, TRACE, requests_of, traced
from tests.support.url_fetcher import fetcher


@pytest.fixture(scope="module")
def traced_client(tiny_classifier: Classifier) -> Iterator[httpx.Client]:
    with ExitStack() as server:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "app.serving.observability.tracing.OTLPSpanExporter", InMemorySpanExporter
            )
            client = server.enter_context(traced(tiny_classifier))
        yield client


@pytest.mark.parametrize(
    "sent",
    [
        [("traceparent", PARENT.upper())],
        [("traceparent", f"00-{'0' * 32}-{SPAN}-01")],
        [("traceparent", f"00-{TRACE}-{'0' * 16}-01")],
        [("traceparent", f"ff-{TRACE}-{SPAN}-01")],
        [("traceparent", f"{PARENT}-more")],
        [("traceparent", f"00-{TRACE}-{SPAN}")],
        [("traceparent", "x" * 5000)],
        [("tracestate", "a=1")],
        [],
    ],
)
def test_malformed_context_starts_new_trace(
    traced_client: httpx.Client, sent: list[tuple[str, str]]
) -> None:
    answer = traced_client.get("/model", headers=sent)
    assert answer.status_code == 200
    version, trace_id, span_id, flags = answer.headers["traceresponse"].split("-")
    assert (version, len(trace_id), len(span_id)) == ("00", 32, 16)
    assert trace_id != TRACE
    assert int(flags, 16) & 1


@pytest.mark.parametrize(
    "sent",
    [
        [("traceparent", PARENT)],
        [("TraceParent", PARENT), ("tracestate", "a=1"), ("tracestate", "b=2")],
        [("traceparent", PARENT), ("tracestate", "no state at all")],
        [("traceparent", f"cc-{TRACE}-{SPAN}-01-what-comes-later")],
    ],
)
def test_context_of_any_version_and_state_is_continued(
    traced_client: httpx.Client, sent: list[tuple[str, str]]
) -> None:
    answer = traced_client.get("/model", headers=sent)
    assert answer.headers["traceresponse"].startswith(f"00-{TRACE}-")


def test_unsampled_request_is_propagated_but_not_recorded(
    tiny_classifier: Classifier, exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    with traced(tiny_classifier) as client:
        not_sampled = {"traceparent": f"00-{TRACE}-{SPAN}-00"}
        answer = client.get("/model", headers=not_sampled)
        assert answer.headers["traceresponse"].endswith("-00")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    with traced(tiny_classifier) as client:
        request = raw(photo())
        request["headers"]["traceparent"] = PARENT
        answer = client.post("/predict", **request)
        assert (answer.status_code, answer.headers["traceresponse"][-3:]) == (200, "-00")
    assert not exporter.get_finished_spans()


def test_access_log_has_trace_id(
    traced_client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mumic.access")
    traced_client.get("/model", headers={"traceparent": PARENT})
    traced_client.get("/healthz")
    wait_until(lambda: len(caplog.records) == 2)  # logged after the response is sent
    lines = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
    assert [line["route"] for line in lines] == ["/model", "/healthz"]
    assert [line.get("trace_id") for line in lines] == [TRACE, None]


def test_url_fetch_sends_no_trace_context(
    tiny_classifier: Classifier, exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_site() as site:
        monkeypatch.setattr("app.main.Fetcher", lambda _: fetcher(site))
        with traced(tiny_classifier, allow_image_urls=True) as client:
            answer = client.post(
                "/predict",
                json={"images": [{"url": f"http://photos.example:{site.port}/photo.jpg"}]},
                headers={"traceparent": PARENT, "tracestate": "a=1"},
            )
            assert answer.status_code == 200
        assert site.seen == ["/photo.jpg"]
        assert not [name for name in site.fields if name.lower().startswith("trace")]
    assert requests_of(exporter.get_finished_spans())


def test_spans_are_exported_before_shutdown_ends(
    tiny_classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        with traced(tiny_classifier) as client:
            assert client.post("/predict", **raw(photo())).status_code == 200
        spans = collector.spans()
    assert {name for _, name in spans} == {"POST /predict", "image", "decode", "queue", "infer"}
    resource = spans[0][0]
    assert resource["service.name"] == "mumic"
    assert resource["service.instance.id"]
    assert resource["deployment.environment.name"] == "test"


def test_stuck_collector_delays_neither_requests_nor_shutdown(
    tiny_classifier: Classifier, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("app.serving.observability.tracing.FLUSH_TIMEOUT_S", 0.1)
    with collecting() as collector:
        collector.go.clear()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "tagger")
        monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "4")
        monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")
        with traced(tiny_classifier) as client:
            for _ in range(5):  # more than the queue holds
                assert client.post("/predict", **raw(photo())).status_code == 200
        assert not collector.exports
        assert "Spans are lost" in caplog.text
        collector.go.set()
        wait_until(lambda: len(collector.exports) > 0)
        assert collector.spans()[0][0]["service.name"] == "tagger"


def test_otel_sdk_disabled_turns_tracing_off(
    tiny_classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    with traced(tiny_classifier) as client:
        answer = client.get("/model", headers={"traceparent": PARENT})
        assert (answer.status_code, "traceresponse" in answer.headers) == (200, False)


def test_tracing_is_off_by_default(client: httpx.Client) -> None:
    answer = client.get("/model", headers={"traceparent": PARENT})
    assert (answer.status_code, "traceresponse" in answer.headers) == (200, False)


def test_invalid_variable_and_missing_extra_are_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny_checkpoint: Path
) -> None:
    monkeypatch.setenv("MUMIC_CHECKPOINT", str(tiny_checkpoint))
    monkeypatch.setenv("MUMIC_TRACES", "true")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "1")
    ran = mumic(monkeypatch, capsys, "openapi")
    assert (ran.code, ran.out) == (2, "")
    assert "mumic: traces: an OTEL_* variable is invalid: max_export_batch_size must" in ran.err

    exporter = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
    monkeypatch.setitem(sys.modules, exporter, None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "app.serving.observability.tracing")
    ran = mumic(monkeypatch, capsys, "openapi")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == f"mumic: {exporter} is missing; pip install 'mumic[traces]'\n"
