"""The samples that /metrics exports."""

import socket
from importlib.metadata import version

import httpx
import pytest
import torch

from app import __version__
from app.core.classifier import Classifier
from app.core.runtime import device_memory
from app.main import create_app
from app.serving.observability import Metrics
from app.settings import Settings
from tests.support.engine import in_flight, served
from tests.support.fakes import GOOD, RAISES, FakeClassifier, FakeTower, grey_photo, wait_until
from tests.support.raw_connection import head
from tests.support.requests import metric, multipart, raw, truncated


def images(client: httpx.Client, outcome: str) -> float:
    return metric(client, f'mumic_images_total{{outcome="{outcome}"}}')


def serialized(request: httpx.Request) -> bytes:
    names = ("content-type", "content-length")
    headers = (f"{name}: {request.headers[name]}".encode() for name in names)
    return head(*headers) + request.read()


def test_each_accepted_image_has_one_outcome(
    tiny_classifier: Classifier, small_settings: Settings
) -> None:
    tower = FakeTower()
    good, bad = grey_photo(GOOD), grey_photo(RAISES)
    app = create_app(small_settings, FakeClassifier(tiny_classifier, tower))
    with served(app, tower) as client:
        assert client.post("/predict", **multipart(good, truncated())).status_code == 200
        assert client.post("/embed", **raw(b"no photo")).status_code == 422
        assert client.post("/predict", **raw(bad)).status_code == 500
        tower.go.clear()
        abandoned = client.build_request("POST", "/predict", **multipart(good, good, good))
        with socket.create_connection((client.base_url.host, client.base_url.port)) as leaving:
            leaving.sendall(serialized(abandoned))
            wait_until(lambda: in_flight(client) == 3)
        wait_until(lambda: images(client, "abandoned") == 3)
        outcomes = {"ok": 1, "corrupt": 1, "not_an_image": 1, "failed": 1, "abandoned": 3}
        assert {outcome: images(client, outcome) for outcome in outcomes} == outcomes
        for route, requests in {"/predict": 3, "/embed": 1, "/zero-shot": 0}.items():
            assert metric(client, f'mumic_request_seconds_count{{route="{route}"}}') == requests


def test_failure_counters_start_at_zero() -> None:
    lines = Metrics().render().decode().splitlines()
    failures = {"/predict": 500, "/embed": 504, "/validate": 499, "/readyz": 503}
    for route, status in failures.items():
        assert f'mumic_requests_total{{route="{route}",status="{status}"}} 0.0' in lines


def test_text_cache_lookups_are_counted(client: httpx.Client) -> None:
    def lookups() -> tuple[float, ...]:
        results = ("hit", "miss")
        return tuple(
            metric(client, f'mumic_text_cache_lookups_total{{result="{each}"}}') for each in results
        )

    hits, misses = lookups()
    seconds = metric(client, "mumic_text_seconds_count")
    for texts in (["a quay", "a jetty"], ["a quay", "a pier", "a quay"]):
        assert client.post("/embed", json={"texts": texts}).status_code == 200
    assert lookups() == (hits + 2, misses + 3)
    assert metric(client, "mumic_text_seconds_count") == seconds + 2


def test_device_memory_is_read_at_each_scrape(
    tiny_classifier: Classifier, small_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = {"allocated": 1, "reserved": 2, "total": 3}
    tower = FakeTower()
    app = create_app(small_settings, FakeClassifier(tiny_classifier, tower))
    with served(app, tower) as client:
        assert "mumic_device_memory_total_bytes{" not in client.get("/metrics").text
        monkeypatch.setattr("app.serving.inference.served_model.device_memory", lambda _: taken)
        for allocated in (10, 20):
            taken["allocated"] = allocated
            for kind, size in taken.items():
                sample = f'mumic_device_memory_{kind}_bytes{{device="cpu"}}'
                assert metric(client, sample) == size


def test_cpu_has_no_device_memory() -> None:
    assert device_memory(torch.device("cpu")) == {}


def test_build_info_is_exported_without_created_series(client: httpx.Client) -> None:
    text, torch_version = client.get("/metrics").text, version("torch")
    assert f'torch="{torch_version}",version="{__version__}"}} 1.0' in text
    assert "_created" not in text


@pytest.mark.parametrize("fused", [True, False])
def test_model_fused_is_exported(
    tiny_classifier: Classifier, small_settings: Settings, fused: bool
) -> None:
    tower = FakeTower()
    classifier = FakeClassifier(tiny_classifier, tower)
    classifier.fused = fused
    with served(create_app(small_settings, classifier), tower) as client:
        assert metric(client, "mumic_model_fused") == fused
