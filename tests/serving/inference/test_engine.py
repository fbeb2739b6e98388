"""The engine through HTTP: batching, overload, disconnected clients, draining."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.core.classifier import Classifier
from app.errors import DrainingError
from app.main import create_app
from app.serving.inference import EmbeddedImage, Engine
from app.serving.observability import Metrics
from app.settings import Settings
from tests.support.engine import FailingClassifier, embed, in_flight, post_in_background, served
from tests.support.fakes import (
    GOOD,
    NAN,
    PATIENCE_S,
    RAISES,
    FakeClassifier,
    FakeTower,
    grey_photo,
    until,
    wait_until,
)
from tests.support.requests import json_body, multipart, raw


@pytest.fixture
def tower() -> Iterator[FakeTower]:
    fake = FakeTower()
    yield fake
    fake.go.set()


@pytest.fixture
def make_app(
    tiny_classifier: Classifier, small_settings: Settings, tower: FakeTower
) -> Callable[..., FastAPI]:
    def make(**changed: Any) -> FastAPI:
        settings = small_settings.model_copy(update=changed)
        return create_app(settings, FakeClassifier(tiny_classifier, tower))

    return make


def test_concurrent_requests_share_batch(
    tiny_classifier: Classifier, small_settings: Settings, tower: FakeTower
) -> None:
    async def scenario() -> None:
        metrics = Metrics()
        settings = small_settings.model_copy(update={"max_batch_size": 8})
        engine = Engine(FakeClassifier(tiny_classifier, tower), settings, metrics, cores=1)
        engine.start()

        def source() -> bytes:
            return grey_photo(GOOD)

        tower.go.clear()
        first = asyncio.create_task(embed(engine, source, 1))
        await until(lambda: tower.batches == [1])
        sizes = [3, 1, 1, 2]
        others = [asyncio.create_task(embed(engine, source, size)) for size in sizes]
        await until(lambda: b"mumic_decode_seconds_count 8.0" in metrics.render())
        await asyncio.sleep(0)
        tower.go.set()
        outcomes = await asyncio.gather(first, *others)
        await engine.close()
        assert tower.batches == [1, 7]
        assert [len(outcome) for outcome in outcomes] == [1, *sizes]

    asyncio.run(scenario())


def test_failing_model_fails_only_its_request(
    make_app: Callable[..., FastAPI], tower: FakeTower
) -> None:
    with served(make_app(), tower) as client:
        for grey in (RAISES, NAN):
            answer = client.post("/predict", **multipart(grey_photo(GOOD), grey_photo(grey)))
            assert answer.status_code == 500
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["code"] == "inference_failed"
            assert "secret" not in answer.text
        assert client.post("/predict", **raw(grey_photo(GOOD))).status_code == 200


def test_full_queue_answers_429_with_retry_after(
    make_app: Callable[..., FastAPI], tower: FakeTower
) -> None:
    with served(make_app(max_images_per_request=4, max_queued_images=4), tower) as client:
        tower.go.clear()
        accepted = post_in_background(client, *[grey_photo(GOOD)] * 3)
        answer = client.post("/predict", **multipart(*[grey_photo(GOOD)] * 2))
        assert (answer.status_code, answer.json()["code"]) == (429, "overloaded")
        assert int(answer.headers["retry-after"]) >= 1
        fits = post_in_background(client, grey_photo(GOOD))
        tower.go.set()
        assert accepted.result(PATIENCE_S).status_code == 200
        assert fits.result(PATIENCE_S).status_code == 200
        wait_until(lambda: in_flight(client) == 0)
        assert client.post("/predict", **raw(grey_photo(GOOD))).status_code == 200


@pytest.mark.parametrize("requests", [1, 2])
def test_work_of_disconnected_client_is_cancelled(
    make_app: Callable[..., FastAPI], tower: FakeTower, requests: int
) -> None:
    with served(make_app(), tower) as client:
        tower.go.clear()
        stays = post_in_background(client, grey_photo(GOOD))
        wait_until(lambda: tower.batches == [1])
        photo = grey_photo(GOOD)
        head = (
            "POST /predict HTTP/1.1\r\nhost: mumic\r\ncontent-type: image/png\r\n"
            f"content-length: {len(photo)}\r\n\r\n"
        )
        address = (client.base_url.host, client.base_url.port)
        with socket.create_connection(address) as leaving:
            leaving.sendall((head.encode() + photo) * requests)
            wait_until(lambda: in_flight(client) == 2)
        wait_until(lambda: in_flight(client) == 1)
        tower.go.set()
        assert stays.result(PATIENCE_S).status_code == 200
        assert client.post("/predict", **raw(photo)).status_code == 200
        assert tower.batches == [1, 1]
        assert 'mumic_requests_total{route="/predict",status="499"} 1.0' in (
            client.get("/metrics").text
        )


def test_close_waits_for_images_being_decoded(
    tiny_classifier: Classifier, small_settings: Settings, tower: FakeTower
) -> None:
    async def scenario() -> None:
        engine = Engine(FakeClassifier(tiny_classifier, tower), small_settings, Metrics(), 1)
        engine.start()
        uploaded = threading.Event()

        def slow_source() -> bytes:
            assert uploaded.wait(PATIENCE_S)
            return grey_photo(GOOD)

        accepted = asyncio.create_task(embed(engine, slow_source, 3))
        await asyncio.sleep(0.02)
        closing = asyncio.create_task(engine.close())
        await asyncio.sleep(0.02)
        with pytest.raises(DrainingError):
            await embed(engine, slow_source, 1)
        with pytest.raises(DrainingError):
            await engine.texts.embed(engine.models.current, ["beach"])
        uploaded.set()
        await closing
        outcomes = await accepted
        assert all(isinstance(outcome, EmbeddedImage) for outcome in outcomes)

    asyncio.run(scenario())


def test_draining_service_answers_503(make_app: Callable[..., FastAPI]) -> None:
    async def scenario() -> None:
        app = make_app()
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://mumic") as client:
            async with app.router.lifespan_context(app):
                assert (await client.get("/readyz")).status_code == 200
            for answer in [
                await client.get("/readyz"),
                await client.post("/predict", **raw(grey_photo(GOOD))),
                await client.post("/predict", **json_body(grey_photo(GOOD))),
                await client.post("/embed", json={"texts": ["beach"]}),
            ]:
                assert (answer.status_code, answer.json()["code"]) == (503, "draining")
            assert (await client.get("/healthz")).status_code == 200

    asyncio.run(scenario())


def test_unexpected_error_exposes_no_internals(
    tiny_classifier: Classifier, small_settings: Settings, tower: FakeTower
) -> None:
    classifier = FailingClassifier(tiny_classifier, tower)
    with served(create_app(small_settings, classifier), tower) as client:
        classifier.failing = True
        answer = client.post("/predict", **raw(grey_photo(GOOD)), timeout=PATIENCE_S)
        classifier.failing = False
        assert answer.status_code == 500
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["code"] == "internal_error"
        assert problem["request_id"] == answer.headers["x-request-id"]
        assert "secret" not in answer.text
        assert "RuntimeError" not in answer.text
        assert client.post("/embed", **raw(grey_photo(GOOD))).status_code == 200
        assert 'mumic_requests_total{route="/predict",status="500"} 1.0' in (
            client.get("/metrics").text
        )


def test_concurrent_zero_shot_requests_get_own_scores(
    client: httpx.Client,
) -> None:
    def score(words: tuple[str, str]) -> dict[str, float]:
        body = json_body(grey_photo(GOOD), labels=words, scoring="sigmoid")
        (result,) = client.post("/zero-shot", **body).json()["results"]
        return {score["label"]: score["confidence"] for score in result["scores"]}

    pairs = [(f"room {i}", f"room {i + 1}") for i in range(24)]
    with ThreadPoolExecutor(12) as threads:
        together = list(threads.map(score, pairs))
    for pair, scores in zip(pairs, together, strict=True):
        assert scores == pytest.approx(score(pair), abs=1e-3)
