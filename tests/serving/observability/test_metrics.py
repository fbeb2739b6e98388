"""What /metrics tells of what the server does."""

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


def whole(request: httpx.Request) -> bytes:
    names = ("content-type", "content-length")
    headers = (f"{name}: {request.headers[name]}".encode() for name in names)
    return head(*headers) + request.read()


def test_every_accepted_image_has_one_outcome(
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
        given_up = client.build_request("POST", "/predict", **multipart(good, good, good))
        with socket.create_connection((client.base_url.host, client.base_url.port)) as leaving:
            leaving.sendall(whole(given_up))
            wait_until(lambda: in_flight(client) == 3)
        wait_until(lambda: images(client, "abandoned") == 3)
        outcomes = {"ok": 1, "corrupt": 1, "not_an_image": 1, "failed": 1, "abandoned": 3}
        assert {outcome: images(client, outcome) for outcome in outcomes} == outcomes
        for route, requests in {"/predict": 3, "/embed": 1, "/zero-shot": 0}.items():
            assert metric(client, f'mumic_request_seconds_count{{route="{route}"}}') == requests


def test_failures_begin_at_none_so_that_a_rate_has_the_first() -> None:
    told = Metrics().render().decode().splitlines()
    failures = {"/predict": 500, "/embed": 504, "/zero-shot": 499, "/readyz": 503}
    for route, status in failures.items():
        assert f'mumic_requests_total{{route="{route}",status="{status}"}} 0.0' in told


def test_texts_are_counted_by_whether_they_were_known(client: httpx.Client) -> None:
    def look_ups() -> tuple[float, ...]:
        results = ("hit", "miss")
        return tuple(
            metric(client, f'mumic_text_cache_lookups_total{{result="{each}"}}') for each in results
        )

    hits, misses = look_ups()
    seconds = metric(client, "mumic_text_seconds_count")
    for texts in (["a quay", "a jetty"], ["a quay", "a pier", "a quay"]):
        assert client.post("/embed", json={"texts": texts}).status_code == 200
    assert look_ups() == (hits + 2, misses + 3)
    assert metric(client, "mumic_text_seconds_count") == seconds + 2


def test_a_gpus_memory_is_told_as_it_is_when_it_is_asked_for(
    tiny_classifier: Classifier, small_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = {"allocated": 1, "reserved": 2, "total": 3}
    tower = FakeTower()
    app = create_app(small_settings, FakeClassifier(tiny_classifier, tower))
    with served(app, tower) as client:
        assert "mumic_device_memory_total_bytes{" not in client.get("/metrics").text
        monkeypatch.setattr("app.serving.inference.engine.device_memory", lambda _: taken)
        for allocated in (10, 20):
            taken["allocated"] = allocated
            for kind, size in taken.items():
                sample = f'mumic_device_memory_{kind}_bytes{{device="cpu"}}'
                assert metric(client, sample) == size


def test_a_cpu_has_no_memory_of_its_own() -> None:
    assert device_memory(torch.device("cpu")) == {}


def test_the_build_is_told_and_no_time_of_creation(client: httpx.Client) -> None:
    text, torch_version = client.get("/metrics").text, version("torch")
    assert f'torch="{torch_version}",version="{__version__}"}} 1.0' in text
    assert "_created" not in text
