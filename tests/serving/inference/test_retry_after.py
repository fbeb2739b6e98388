"""Retry-After: the images in flight times the measured seconds per image, on a fake clock."""

import httpx
import pytest

from app.core.classifier import Classifier
from app.main import create_app
from app.settings import Settings
from tests.support.engine import in_flight, post_in_background, served
from tests.support.fakes import GOOD, PATIENCE_S, FakeClassifier, FakeTower, grey_photo, wait_until
from tests.support.requests import multipart

PHOTO = grey_photo(GOOD)


class Clock:
    """A clock that the test advances."""

    now_s = 0.0

    def perf_counter(self) -> float:
        return self.now_s


def refused_for_s(client: httpx.Client, images: int) -> int:
    answer = client.post("/predict", **multipart(*[PHOTO] * images))
    assert (answer.status_code, answer.json()["code"]) == (429, "overloaded")
    return int(answer.headers["retry-after"])


def test_retry_after_grows_with_queue_and_slower_pace(
    tiny_classifier: Classifier, small_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr("app.serving.inference.admission.time", clock)
    tower = FakeTower()
    settings = small_settings.model_copy(update={"max_queued_images": 4})
    with served(create_app(settings, FakeClassifier(tiny_classifier, tower)), tower) as client:
        waits: list[tuple[int, int]] = []
        for _ in range(3):
            tower.go.clear()
            two = post_in_background(client, *[PHOTO] * 2)
            with_two_in_flight = refused_for_s(client, 3)
            others = post_in_background(client, *[PHOTO] * 2)
            waits.append((with_two_in_flight, refused_for_s(client, 1)))
            clock.now_s += 1000
            tower.go.set()
            for answer in (two, others):
                assert answer.result(PATIENCE_S).status_code == 200
            wait_until(lambda: in_flight(client) == 0)
    assert waits[0] == (1, 1)  # the pace is not measured yet
    for few, many in waits[1:]:
        assert few > 10
        assert many in (2 * few, 2 * few - 1)  # rounded up
    assert waits[2] > waits[1]
