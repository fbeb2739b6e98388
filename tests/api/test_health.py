"""Health checks, metrics and the routes that describe the model."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from torch import Tensor

from app.core.classifier import Classifier
from app.core.images import Pixels, load_pixels
from app.errors import NotReadyError
from app.main import create_app
from app.serving.http.routes import health
from app.serving.inference import Engine, Readiness
from app.serving.inference.readiness import check_golden_image
from app.serving.observability import Metrics
from app.settings import Settings
from tests.support.engine import embed, post_in_background, served
from tests.support.fakes import (
    GOOD,
    PATIENCE_S,
    FakeClassifier,
    FakeTower,
    grey_photo,
    until,
    wait_until,
)
from tests.support.requests import raw


def test_ready_server_returns_ok(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ok"}


def test_labels_route_returns_whole_label_set(
    client: httpx.Client, tiny_classifier: Classifier
) -> None:
    answer = client.get("/labels").json()
    assert [label["id"] for label in answer["labels"]] == tiny_classifier.labels.ids
    assert len(answer["categories"]) == 8
    pool = next(label for label in answer["labels"] if label["id"] == "indoor_swimming_pool")
    assert pool["parents"] == ["swimming_pool"]
    assert pool["prompt"] == "a photo with indoor swimming pool"


def test_model_route_returns_card_device_and_precision(client: httpx.Client) -> None:
    card = client.get("/model").json()
    assert (card["name"], card["version"]) == ("tiny", "1.2.3")
    assert (card["device"], card["precision"]) == ("cpu", "fp32")
    assert (card["labels"], card["dimension"], card["image_size_px"]) == (120, 32, 64)


def test_metrics_route_returns_prometheus_text(client: httpx.Client) -> None:
    client.get("/healthz")
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'mumic_requests_total{route="/healthz",status="200"}' in answer.text
    assert 'mumic_model_info{device="cpu"' in answer.text


def ready(client: httpx.Client) -> tuple[int, str]:
    answer = client.get("/readyz")
    return answer.status_code, answer.json().get("code", "")


@pytest.fixture
def checked_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.serving.inference.readiness.VALID_S", 0)


@pytest.mark.usefixtures("checked_always")
def test_wrong_golden_embedding_is_not_ready(
    tiny_classifier: Classifier, small_settings: Settings
) -> None:
    class Changed(FakeClassifier):
        golden = True

        def is_golden(self, embedding: Tensor) -> bool:
            return self.golden and super().is_golden(embedding)

    tower = FakeTower()
    classifier = Changed(tiny_classifier, tower)
    with served(create_app(small_settings, classifier), tower) as client:
        assert ready(client) == (200, "")
        classifier.golden = False
        assert ready(client) == (503, "not_ready")
        classifier.golden = True
        tower.memory = 0
        assert ready(client) == (503, "not_ready")
        tower.memory = 1
        assert ready(client) == (200, "")
        assert client.get("/healthz").status_code == 200


@pytest.mark.usefixtures("checked_always")
def test_occupied_decode_threads_are_not_ready(
    tiny_classifier: Classifier, small_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.serving.inference.readiness.TIMEOUT_S", PATIENCE_S)
    go = threading.Event()

    def held(*arguments: Any) -> Pixels:
        assert go.wait(PATIENCE_S)
        return load_pixels(*arguments)

    monkeypatch.setattr("app.serving.inference.image_embedder.load_pixels", held)
    tower = FakeTower()
    settings = small_settings.model_copy(update={"decode_threads": 2})
    app = create_app(settings, FakeClassifier(tiny_classifier, tower))
    with served(app, tower) as client:
        one = post_in_background(client, grey_photo(GOOD))
        assert ready(client) == (200, "")
        more = post_in_background(client, *[grey_photo(GOOD)] * 4)
        with monkeypatch.context() as short_timeout:
            short_timeout.setattr("app.serving.inference.readiness.TIMEOUT_S", 0.1)
            assert ready(client) == (503, "not_ready")
        go.set()
        assert [each.result(20).status_code for each in (one, more)] == [200, 200]
        assert ready(client) == (200, "")


@pytest.mark.usefixtures("checked_always")
def test_concurrent_probes_of_stuck_model_share_result(
    tiny_classifier: Classifier, small_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    probed = checks = 0

    async def check(readiness: Readiness) -> None:
        nonlocal probed
        probed += 1
        await real_check(readiness)

    async def fail_after_all_probes(*_: object) -> None:
        nonlocal checks
        checks += 1
        await until(lambda: probed == 12)
        raise NotReadyError("stuck")

    real_check = Readiness.check
    monkeypatch.setattr(Readiness, "check", check)
    monkeypatch.setattr("app.serving.inference.readiness.check_golden_image", fail_after_all_probes)
    tower = FakeTower()
    app = create_app(small_settings, FakeClassifier(tiny_classifier, tower))
    with served(app, tower) as client, ThreadPoolExecutor(12) as probes:
        assert set(probes.map(lambda _: ready(client), range(12))) == {(503, "not_ready")}
        assert checks == 1


def test_readiness_check_precedes_queue(
    tiny_classifier: Classifier, small_settings: Settings
) -> None:
    async def scenario() -> None:
        tower = FakeTower()
        settings = small_settings.model_copy(update={"max_batch_size": 1})
        engine = Engine(FakeClassifier(tiny_classifier, tower), settings, metrics := Metrics(), 1)
        engine.start()
        tower.go.clear()
        waiting = asyncio.create_task(embed(engine, lambda: grey_photo(GOOD), 9))
        await until(lambda: b"mumic_decode_seconds_count 9.0" in metrics.render())
        check = asyncio.create_task(
            check_golden_image(engine.images, engine.models.current, PATIENCE_S)
        )
        await until(lambda: len(engine.images._batcher) == 9)  # it has passed a decode thread
        tower.go.set()
        await check
        assert len(tower.batches) < 9
        await waiting
        await engine.close()

    asyncio.run(scenario())


@pytest.mark.usefixtures("checked_always")
def test_stuck_model_is_not_ready_then_not_alive(
    tiny_classifier: Classifier, small_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.serving.inference.readiness.TIMEOUT_S", PATIENCE_S)
    tower = FakeTower()
    app = create_app(small_settings, FakeClassifier(tiny_classifier, tower))
    with served(app, tower) as client:
        tower.go.clear()
        stuck = post_in_background(client, grey_photo(GOOD))
        with monkeypatch.context() as short_timeout:
            short_timeout.setattr("app.serving.inference.readiness.TIMEOUT_S", 0.1)
            assert ready(client) == (503, "not_ready")
            short_timeout.setattr(health, "STUCK_S", 0.2)
            wait_until(lambda: client.get("/healthz").status_code == 503)
        tower.go.set()
        assert stuck.result(20).status_code == 200
        assert ready(client) == (200, "")
        assert client.get("/healthz").status_code == 200


def test_concurrent_probes_share_one_check(
    tiny_classifier: Classifier, small_settings: Settings
) -> None:
    tower = FakeTower()
    with served(
        create_app(small_settings, FakeClassifier(tiny_classifier, tower)), tower
    ) as client:
        for _ in range(20):
            assert ready(client) == (200, "")
        assert len(tower.batches) < 10


def test_real_model_is_ready_under_load(
    client: httpx.Client,
) -> None:
    for _ in range(3):
        assert client.post("/predict", **raw(grey_photo(GOOD))).status_code == 200
        assert ready(client) == (200, "")
