"""A live server around a fake tower, and requests in the background."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import httpx
from fastapi import FastAPI

from app.core.labels import LabelSet
from app.errors import ImageError
from app.serving.inference import EmbeddedImage, Engine
from app.serving.observability import Timings
from tests.support.fakes import (
    PATIENCE_S,
    FakeClassifier,
    FakeTower,
    wait_until,
)
from tests.support.requests import metric, multipart
from tests.support.tiny import live_server


@contextmanager
def served(app: FastAPI, tower: FakeTower) -> Iterator[httpx.Client]:
    """Serve an app; release its fake tower at the end."""
    with (
        live_server(app) as url,
        httpx.Client(base_url=url, timeout=PATIENCE_S) as session,
    ):
        try:
            yield session
        finally:
            tower.go.set()


async def embed(
    engine: Engine, source: Callable[[], bytes], times: int
) -> list[EmbeddedImage | ImageError]:
    """Embed a photo a number of times in one request, without HTTP."""
    timings = [Timings() for _ in range(times)]
    return await engine.images.embed(engine.models.current, [source] * times, timings)


def in_flight(client: httpx.Client) -> float:
    """Return the number of images in flight."""
    return metric(client, "mumic_images_in_flight")


def post_in_background(client: httpx.Client, *photos: bytes) -> "Future[httpx.Response]":
    """Send a request in a thread, and wait until its images are in flight."""
    before = in_flight(client)
    answer: Future[httpx.Response] = Future()

    def post() -> None:
        answer.set_result(client.post("/predict", **multipart(*photos)))

    threading.Thread(target=post, daemon=True).start()
    wait_until(lambda: in_flight(client) == before + len(photos))
    return answer


class FailingClassifier(FakeClassifier):
    """Raises an unexpected error while `failing` is set."""

    failing = False

    @property
    def labels(self) -> LabelSet:
        if self.failing:
            raise RuntimeError("internal detail, a secret")
        return super().labels
