"""What a server holds at a time is bounded, and so is the time that a client may ask for."""

import httpx
import pytest

from app.core.classifier import Classifier
from app.main import create_app
from app.settings import Settings
from tests.support.engine import post_beside, served
from tests.support.fakes import GOOD, PATIENCE_S, FakeClassifier, FakeTower, grey_photo, wait_until
from tests.support.raw_connection import head, spoken, statuses
from tests.support.requests import json_body, metric, multipart, raw

ALL_FORMS = [multipart, json_body, raw]


def held_bytes(client: httpx.Client) -> float:
    return metric(client, "mumic_request_bytes_in_flight")


@pytest.mark.parametrize("form", ALL_FORMS)
def test_bodies_over_the_bound_of_all_together_are_refused_and_fit_again_afterwards(
    tiny_classifier: Classifier, small_settings: Settings, form: type
) -> None:
    tower = FakeTower()
    settings = small_settings.model_copy(
        update={"max_request_bytes": 2500, "max_queued_bytes": 2500}
    )
    padded = grey_photo(GOOD) + bytes(1200 - len(grey_photo(GOOD)))  # after the PNG's end
    with served(create_app(settings, FakeClassifier(tiny_classifier, tower)), tower) as client:
        tower.go.clear()
        accepted = post_beside(client, padded)
        assert held_bytes(client) > 1200
        answer = client.post("/predict", **form(padded))
        assert (answer.status_code, answer.json()["code"]) == (429, "overloaded")
        assert int(answer.headers["retry-after"]) >= 1
        tower.go.set()
        assert accepted.result(PATIENCE_S).status_code == 200
        wait_until(lambda: held_bytes(client) == 0)
        assert client.post("/predict", **form(padded)).status_code == 200
        wait_until(lambda: held_bytes(client) == 0)


@pytest.mark.parametrize("path", ["/predict", "/embed", "/zero-shot"])
def test_a_full_queue_refuses_before_a_body_has_come_but_answers_texts(
    tiny_classifier: Classifier, small_settings: Settings, path: str
) -> None:
    tower = FakeTower()
    settings = small_settings.model_copy(
        update={"max_images_per_request": 2, "max_queued_images": 2}
    )
    with served(create_app(settings, FakeClassifier(tiny_classifier, tower)), tower) as client:
        tower.go.clear()
        accepted = post_beside(client, *[grey_photo(GOOD)] * 2)
        for form in (b"image/png", b"multipart/form-data; boundary=b"):
            announced = head(
                b"content-type: " + form,
                b"content-length: 9000",
                b"connection: close",
                target=b"POST " + path.encode(),
            )
            assert statuses(spoken(client, announced)) == [429]
        texts = client.post("/embed", json={"texts": ["beach"]})
        assert texts.status_code == 200
        tower.go.set()
        assert accepted.result(PATIENCE_S).status_code == 200


@pytest.mark.parametrize("asked", ["0", "-5", "1.5", "soon", "", "9" * 40])
def test_a_time_that_is_none_is_refused(client: httpx.Client, asked: str) -> None:
    request = raw(grey_photo(GOOD))
    request["headers"]["X-Request-Timeout-Ms"] = asked
    answer = client.post("/predict", **request)
    assert answer.status_code == 422
    assert answer.json()["field"] == "X-Request-Timeout-Ms"
    assert "milliseconds" in answer.json()["detail"]
