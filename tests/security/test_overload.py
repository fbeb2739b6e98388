"""Bytes and images in flight are bounded, and so is the timeout that a client may set."""

import httpx
import pytest

from app.core.classifier import Classifier
from app.main import create_app
from app.settings import Settings
from tests.support.engine import post_in_background, served
from tests.support.fakes import GOOD, PATIENCE_S, FakeClassifier, FakeTower, grey_photo, wait_until
from tests.support.raw_connection import exchange, head, statuses
from tests.support.requests import BODY_BUILDERS, BodyBuilder, metric, raw


def held_bytes(client: httpx.Client) -> float:
    return metric(client, "mumic_request_bytes_in_flight")


@pytest.mark.parametrize("build_body", BODY_BUILDERS)
def test_bodies_over_byte_budget_are_refused_until_released(
    tiny_classifier: Classifier, small_settings: Settings, build_body: BodyBuilder
) -> None:
    tower = FakeTower()
    settings = small_settings.model_copy(
        update={"max_request_bytes": 2500, "max_queued_bytes": 2500}
    )
    padded = grey_photo(GOOD) + bytes(1200 - len(grey_photo(GOOD)))  # after the PNG's end
    with served(create_app(settings, FakeClassifier(tiny_classifier, tower)), tower) as client:
        tower.go.clear()
        accepted = post_in_background(client, padded)
        assert held_bytes(client) > 1200
        answer = client.post("/predict", **build_body(padded))
        assert (answer.status_code, answer.json()["code"]) == (429, "overloaded")
        assert int(answer.headers["retry-after"]) >= 1
        tower.go.set()
        assert accepted.result(PATIENCE_S).status_code == 200
        wait_until(lambda: held_bytes(client) == 0)
        assert client.post("/predict", **build_body(padded)).status_code == 200
        wait_until(lambda: held_bytes(client) == 0)


@pytest.mark.parametrize("path", ["/predict", "/embed", "/zero-shot", "/validate", "/gallery"])
def test_full_queue_refuses_before_body_but_embeds_texts(
    tiny_classifier: Classifier, small_settings: Settings, path: str
) -> None:
    tower = FakeTower()
    settings = small_settings.model_copy(
        update={"max_images_per_request": 2, "max_queued_images": 2}
    )
    with served(create_app(settings, FakeClassifier(tiny_classifier, tower)), tower) as client:
        tower.go.clear()
        accepted = post_in_background(client, *[grey_photo(GOOD)] * 2)
        for content_type in (b"image/png", b"multipart/form-data; boundary=b"):
            announced = head(
                b"content-type: " + content_type,
                b"content-length: 9000",
                b"connection: close",
                target=b"POST " + path.encode(),
            )
            assert statuses(exchange(client, announced)) == [429]
        texts = client.post("/embed", json={"texts": ["beach"]})
        assert texts.status_code == 200
        tower.go.set()
        assert accepted.result(PATIENCE_S).status_code == 200


@pytest.mark.parametrize("timeout", ["0", "-5", "1.5", "soon", "", "9" * 40])
def test_invalid_timeout_header_is_refused(client: httpx.Client, timeout: str) -> None:
    request = raw(grey_photo(GOOD))
    request["headers"]["X-Request-Timeout-Ms"] = timeout
    answer = client.post("/predict", **request)
    assert answer.status_code == 422
    assert answer.json()["field"] == "X-Request-Timeout-Ms"
    assert "milliseconds" in answer.json()["detail"]
