"""What a load balancer and a monitor see."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from torch import Tensor

from app.core.classifier import Classifier
from app.core.pixels import Pixels, load_pixels
from app.errors import NotReadyError
from app.main import create_app
from app.serving.engine import Engine
from app.serving.metrics import Metrics
from app.serving.readiness import Readiness
from app.serving.routes import health
from app.settings import Settings
from tests.fakes import (
    GOOD,
    PATIENCE_S,
    FakeClassifier,
    FakeTower,
    grey_photo,
    until,
    wait_until,
)
from tests.sending import raw
from tests.test_engine import embed, post_beside, served


def test_a_ready_server_says_so(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ok"}


def test_the_label_set_is_told_whole(client: httpx.Client, tiny_classifier: Classifier) -> None:
    answer = client.get("/labels").json()
    assert [label["id"] for label in answer["labels"]] == tiny_classifier.labels.ids
    assert len(answer["categories"]) == 8
    pool = next(label for label in answer["labels"] if label["id"] == "indoor_swimming_pool")
    assert pool["parents"] == ["swimming_pool"]
    assert pool["prompt"] == "a photo with indoor swimming pool"


def test_the_card_names_checkpoint_device_and_precision(client: httpx.Client) -> None:
    card = client.get("/model").json()
    assert (card["name"], card["version"]) == ("tiny", "1.2.3")
    assert (card["device"], card["precision"]) == ("cpu", "fp32")
    assert (card["labels"], card["dimension"], card["image_size_px"]) == (120, 32, 64)


def test_metrics_are_prometheus_text(client: httpx.Client) -> None:
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
    monkeypatch.setattr("app.serving.readiness.VALID_S", 0)


@pytest.mark.usefixtures("checked_always")
def test_a_model_that_computes_something_else_is_not_ready(
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
def test_decoders_that_are_held_are_not_ready(
    tiny_classifier: Classifier, small_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.serving.readiness.PATIENCE_S", PATIENCE_S)
    go = threading.Event()

    def held(*arguments: Any) -> Pixels:
        assert go.wait(PATIENCE_S)
        return load_pixels(*arguments)

    monkeypatch.setattr("app.serving.engine.load_pixels", held)
    tower = FakeTower()
    settings = small_settings.model_copy(update={"decode_threads": 2})
    app = create_app(settings, FakeClassifier(tiny_classifier, tower))
    with served(app, tower) as client:
        one = post_beside(client, grey_photo(GOOD))
        assert ready(client) == (200, "")
        more = post_beside(client, *[grey_photo(GOOD)] * 4)
        with monkeypatch.context() as impatient:
            impatient.setattr("app.serving.readiness.PATIENCE_S", 0.1)
            assert ready(client) == (503, "not_ready")
        go.set()
        assert [each.result(20).status_code for each in (one, more)] == [200, 200]
        assert ready(client) == (200, "")


@pytest.mark.usefixtures("checked_always")
def test_probes_of_a_stuck_model_are_told_together(
    tiny_classifier: Classifier, small_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = checks = 0

    async def check(readiness: Readiness) -> None:
        nonlocal asked
        asked += 1
        await real_check(readiness)

    async def check_golden(*_: object) -> None:
        nonlocal checks
        checks += 1
        await until(lambda: asked == 12)
        raise NotReadyError("stuck")

    real_check = Readiness.check
    monkeypatch.setattr(Readiness, "check", check)
    monkeypatch.setattr(Engine, "check_golden", check_golden)
    tower = FakeTower()
    app = create_app(small_settings, FakeClassifier(tiny_classifier, tower))
    with served(app, tower) as client, ThreadPoolExecutor(12) as probes:
        assert set(probes.map(lambda _: ready(client), range(12))) == {(503, "not_ready")}
        assert checks == 1


def test_a_check_goes_before_what_waits(
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
        check = asyncio.create_task(engine.check_golden(engine.served, PATIENCE_S))
        await until(lambda: len(engine._batcher) == 9)  # it has passed a decoder
        tower.go.set()
        await check
        assert len(tower.batches) < 9
        await waiting
        await engine.close()

    asyncio.run(scenario())


@pytest.mark.usefixtures("checked_always")
def test_a_stuck_model_is_not_ready_and_in_the_end_not_alive(
    tiny_classifier: Classifier, small_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.serving.readiness.PATIENCE_S", PATIENCE_S)
    tower = FakeTower()
    app = create_app(small_settings, FakeClassifier(tiny_classifier, tower))
    with served(app, tower) as client:
        tower.go.clear()
        stuck = post_beside(client, grey_photo(GOOD))
        with monkeypatch.context() as impatient:
            impatient.setattr("app.serving.readiness.PATIENCE_S", 0.1)
            assert ready(client) == (503, "not_ready")
            impatient.setattr(health, "STUCK_S", 0.2)
            wait_until(lambda: client.get("/healthz").status_code == 503)
        tower.go.set()
        assert stuck.result(20).status_code == 200
        assert ready(client) == (200, "")
        assert client.get("/healthz").status_code == 200


def test_probes_from_many_sides_share_a_check(
    tiny_classifier: Classifier, small_settings: Settings
) -> None:
    tower = FakeTower()
    with served(
        create_app(small_settings, FakeClassifier(tiny_classifier, tower)), tower
    ) as client:
        for _ in range(20):
            assert ready(client) == (200, "")
        assert len(tower.batches) < 10


def test_the_real_model_gives_the_golden_image_its_embedding_under_load(
    client: httpx.Client,
) -> None:
    for _ in range(3):
        assert client.post("/predict", **raw(grey_photo(GOOD))).status_code == 200
        assert ready(client) == (200, "")
