"""Deadlines count from a request's head; the tests advance the event loop's clock."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from app.core.classifier import Classifier
from app.main import create_app
from app.settings import Settings
from tests.support.fakes import (
    GOOD,
    PATIENCE_S,
    FakeClassifier,
    FakeTower,
    ManualClockLoop,
    advance_clock,
    grey_photo,
    until,
)
from tests.support.requests import json_body, raw

HEADER = "X-Request-Timeout-Ms"


def run(scenario: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=ManualClockLoop) as runner:
        runner.run(scenario)


@asynccontextmanager
async def held(
    classifier: Classifier, settings: Settings
) -> AsyncIterator[tuple[httpx.AsyncClient, FakeTower]]:
    """Run a server with a request timeout of 300 s and a model that blocks until released."""
    tower = FakeTower()
    tower.go.clear()
    settings = settings.model_copy(update={"request_timeout_s": 300})
    app = create_app(settings, FakeClassifier(classifier, tower))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://mumic") as client,
    ):
        try:
            yield client, tower
        finally:
            tower.go.set()


async def until_in_flight(client: httpx.AsyncClient, images: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while f"mumic_images_in_flight {images}.0\n" not in (await client.get("/metrics")).text:
            await asyncio.sleep(0.005)


def refused_within(answer: httpx.Response, seconds: int) -> bool:
    problem = answer.json()
    return (answer.status_code, problem["code"]) == (
        504,
        "deadline_exceeded",
    ) and f"within {seconds} s" in problem["detail"]


@pytest.mark.parametrize("path", ["/predict", "/embed", "/zero-shot", "/validate"])
def test_request_is_cancelled_at_deadline(
    tiny_classifier: Classifier, small_settings: Settings, path: str
) -> None:
    async def scenario() -> None:
        required = {"/zero-shot": {"labels": ["beach"]}, "/validate": {"declared": ["beach"]}}
        options = required.get(path, {})
        async with held(tiny_classifier, small_settings) as (client, tower):
            request = json_body(grey_photo(GOOD), **options)
            answer = asyncio.create_task(client.post(path, **request))
            await until_in_flight(client, 1)
            advance_clock(301)
            assert refused_within(await asyncio.wait_for(answer, PATIENCE_S), 300)
            await until_in_flight(client, 0)
            tower.go.set()
            assert (await client.post(path, **request)).status_code == 200

    run(scenario())


def test_body_time_counts_towards_deadline(
    tiny_classifier: Classifier, small_settings: Settings
) -> None:
    async def slow_body() -> AsyncIterator[bytes]:
        photo = grey_photo(GOOD)
        yield photo[:10]
        advance_clock(200)
        yield photo[10:]

    async def scenario() -> None:
        async with held(tiny_classifier, small_settings) as (client, tower):
            request = raw(b"") | {"content": slow_body()}
            answer = asyncio.create_task(client.post("/predict", **request))
            await until(lambda: tower.batches == [1])
            advance_clock(101)
            assert refused_within(await asyncio.wait_for(answer, PATIENCE_S), 300)

    run(scenario())


@pytest.mark.parametrize(
    ("asked_ms", "given_s"), [("20000", 20), ("60000000", 300), ("0300000", 300)]
)
def test_timeout_header_shortens_but_never_extends_deadline(
    tiny_classifier: Classifier, small_settings: Settings, asked_ms: str, given_s: int
) -> None:
    async def scenario() -> None:
        async with held(tiny_classifier, small_settings) as (client, _):
            request = raw(grey_photo(GOOD))
            request["headers"][HEADER] = asked_ms
            answer = asyncio.create_task(client.post("/predict", **request))
            await until_in_flight(client, 1)
            advance_clock(given_s + 1)
            assert refused_within(await asyncio.wait_for(answer, PATIENCE_S), given_s)
            await until_in_flight(client, 0)

    run(scenario())
