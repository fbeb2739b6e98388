"""Traces and the world: the client's context in, spans out, and nobody hurt by either."""

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
        [("traceparent", PARENT), ("traceparent", PARENT)],
        [("tracestate", "a=1")],
        [],
    ],
)
def test_a_malformed_context_is_as_none_and_a_trace_begins(
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
def test_a_context_is_taken_from_any_version_with_any_state(
    traced_client: httpx.Client, sent: list[tuple[str, str]]
) -> None:
    answer = traced_client.get("/model", headers=sent)
    assert answer.headers["traceresponse"].startswith(f"00-{TRACE}-")


def test_what_the_sampler_leaves_out_is_told_and_not_recorded(
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


def test_a_line_of_the_log_leads_to_the_trace(
    traced_client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mumic.access")
    traced_client.get("/model", headers={"traceparent": PARENT})
    traced_client.get("/healthz")
    wait_until(lambda: len(caplog.records) == 2)  # a line is written after its answer
    lines = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
    assert [line["route"] for line in lines] == ["/model", "/healthz"]
    assert [line.get("trace_id") for line in lines] == [TRACE, None]


def test_a_host_that_a_url_names_learns_nothing_of_the_trace(
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


def test_spans_go_to_the_collector_before_the_server_ends(
    tiny_classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        with traced(tiny_classifier) as client:
            assert client.post("/predict", **raw(photo())).status_code == 200
        told = collector.spans()
    assert {name for _, name in told} == {"POST /predict", "image", "decode", "queue", "infer"}
    resource = told[0][0]
    assert resource["service.name"] == "mumic"
    assert resource["service.instance.id"]
    assert resource["deployment.environment.name"] == "test"


def test_a_collector_that_does_not_answer_holds_up_neither_requests_nor_the_end(
    tiny_classifier: Classifier, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("app.serving.observability.tracing.DELIVERY_S", 0.1)
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
        assert "spans are lost" in caplog.text
        collector.go.set()
        wait_until(lambda: len(collector.exports) > 0)
        assert collector.spans()[0][0]["service.name"] == "tagger"


def test_the_sdks_own_switch_turns_traces_off(
    tiny_classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    with traced(tiny_classifier) as client:
        answer = client.get("/model", headers={"traceparent": PARENT})
        assert (answer.status_code, "traceresponse" in answer.headers) == (200, False)


def test_traces_are_off_unless_asked_for(client: httpx.Client) -> None:
    answer = client.get("/model", headers={"traceparent": PARENT})
    assert (answer.status_code, "traceresponse" in answer.headers) == (200, False)


def test_what_traces_need_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny_checkpoint: Path
) -> None:
    monkeypatch.setenv("MUMIC_CHECKPOINT", str(tiny_checkpoint))
    monkeypatch.setenv("MUMIC_TRACES", "true")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "1")
    ran = mumic(monkeypatch, capsys, "openapi")
    assert (ran.code, ran.out) == (2, "")
    assert "mumic: traces: an OTEL_ variable cannot be used: max_export_batch_size must" in ran.err

    exporter = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
    monkeypatch.setitem(sys.modules, exporter, None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "app.serving.observability.tracing")
    ran = mumic(monkeypatch, capsys, "openapi")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == f"mumic: {exporter} is missing; pip install 'mumic[traces]'\n"
