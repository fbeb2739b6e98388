"""POST /zero-shot against the paper's formulas, computed from /embed and /model."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from torch import Tensor

from app.core.classifier import Classifier
from app.core.model import Moments, Scoring
from app.main import create_app
from app.settings import Settings
from tests.support.engine import served
from tests.support.fakes import FakeClassifier, FakeTower
from tests.support.requests import (
    BODY_BUILDERS,
    BodyBuilder,
    json_body,
    multipart,
    photo,
    raw,
    truncated,
)
from tests.support.tiny import CALIBRATION, live_server, write_calibrated

LABELS = ["cat", "cup of coffee", "temple", "flower", "swimming pool"]
SCORINGS = ["sigmoid", "softmax", "pair"]


def score(client: httpx.Client, arguments: dict[str, Any]) -> list[dict[str, Any]]:
    answer = client.post("/zero-shot", **arguments)
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


def confidences(result: dict[str, Any]) -> dict[str, float]:
    return {score["label"]: score["confidence"] for score in result["scores"]}


def logits(client: httpx.Client, data: bytes, texts: list[str]) -> np.ndarray:
    """Compute the logits of one photo and N texts: cosines times exp(logit_scale), (N,)."""

    def vectors(arguments: dict[str, Any]) -> np.ndarray:
        results = client.post("/embed", **arguments).json()["results"]
        return np.array([result["embedding"] for result in results])

    cosines = vectors({"json": {"texts": texts}}) @ vectors(raw(data))[0]
    scaled: np.ndarray = cosines * np.exp(client.get("/model").json()["logit_scale"])
    return scaled


@pytest.mark.parametrize("name", ["chelsea", "china"])
def test_sigmoid_is_equation_2_per_label(client: httpx.Client, name: str) -> None:
    (result,) = score(client, json_body(photo(name), labels=LABELS))
    prompts = [f"a photo with {label}" for label in LABELS]
    expected = 1 / (1 + np.exp(-logits(client, photo(name), prompts)))
    assert confidences(result) == pytest.approx(dict(zip(LABELS, expected, strict=True)), abs=1e-4)


def test_softmax_is_over_labels(client: httpx.Client) -> None:
    (result,) = score(client, json_body(photo(), labels=LABELS, scoring="softmax"))
    powers = np.exp(logits(client, photo(), [f"a photo with {label}" for label in LABELS]))
    expected = dict(zip(LABELS, powers / powers.sum(), strict=True))
    assert confidences(result) == pytest.approx(expected, abs=1e-4)
    assert sum(confidences(result).values()) == pytest.approx(1, abs=1e-5)


def test_pair_is_softmax_of_label_and_background(client: httpx.Client) -> None:
    (result,) = score(client, json_body(photo(), labels=LABELS, scoring="pair"))
    for label in LABELS:
        pair = np.exp(logits(client, photo(), ["a photo", f"a photo with {label}"]))
        assert confidences(result)[label] == pytest.approx(pair[1] / pair.sum(), abs=1e-4)


@pytest.mark.parametrize("scoring", SCORINGS)
@pytest.mark.parametrize("build_body", BODY_BUILDERS)
def test_every_body_format_gets_equal_sorted_scores(
    client: httpx.Client, build_body: BodyBuilder, scoring: str
) -> None:
    (result,) = score(client, build_body(photo(), labels=LABELS, scoring=scoring))
    assert list(result) == ["id", "status", "width", "height", "scores"]
    values = [score["confidence"] for score in result["scores"]]
    assert values == sorted(values, reverse=True)
    assert set(confidences(result)) == set(LABELS)
    (same,) = score(client, json_body(photo(), labels=LABELS, scoring=scoring))
    assert confidences(result) == pytest.approx(confidences(same), abs=1e-3)


def test_template_is_applied_to_each_label(client: httpx.Client) -> None:
    template = "{} seen from a {}"
    (result,) = score(client, multipart(photo(), labels=["pool"], template=template))
    expected = 1 / (1 + np.exp(-logits(client, photo(), ["pool seen from a pool"])))
    assert confidences(result)["pool"] == pytest.approx(expected[0], abs=1e-4)


def test_braces_in_label_are_literal(client: httpx.Client) -> None:
    (result,) = score(client, raw(photo(), labels=["{0.__class__} {}"], template="{}"))
    expected = 1 / (1 + np.exp(-logits(client, photo(), ["{0.__class__} {}"])))
    assert confidences(result)["{0.__class__} {}"] == pytest.approx(expected[0], abs=1e-4)


def test_labels_are_stripped(client: httpx.Client) -> None:
    (result,) = score(client, json_body(photo(), labels=["  beach \n"]))
    assert list(confidences(result)) == ["beach"]


@pytest.mark.parametrize("scoring", SCORINGS)
@pytest.mark.parametrize(
    ("one", "other"),
    [("cat", "Cat"), ("caf\u00e9", "cafe\u0301"), ("b & b", "b &amp; b"), ("room5", "room 5")],
)
def test_labels_that_are_one_text_are_refused(
    client: httpx.Client, one: str, other: str, scoring: str
) -> None:
    answer = client.post(
        "/zero-shot", **json_body(photo(), labels=["dog", one, other], scoring=scoring)
    )
    assert (answer.status_code, answer.json()["field"]) == (422, "labels")
    assert f"{one!r} and {other!r} are the same text" in answer.json()["detail"]


def test_1000_labels_are_scored(client: httpx.Client) -> None:
    labels = [f"room {number}" for number in range(1000)]
    (result,) = score(client, json_body(photo(), labels=labels, scoring="softmax"))
    assert len(confidences(result)) == 1000
    assert sum(confidences(result).values()) == pytest.approx(1, abs=2e-3)  # six digits each


def test_bad_image_fails_alone_in_its_position(client: httpx.Client) -> None:
    results = score(client, multipart(truncated(), photo(), labels=LABELS))
    assert [result["status"] for result in results] == ["error", "ok"]
    assert [result["id"] for result in results] == ["0.jpg", "1.jpg"]


def test_scores_are_built_off_event_loop(
    tiny_classifier: Classifier, small_settings: Settings
) -> None:
    threads = set()

    class Watched(FakeClassifier):
        def zero_shot(self, images: Tensor, texts: Tensor, method: Scoring) -> Tensor:
            threads.add(threading.current_thread().name.partition("-")[0])
            return super().zero_shot(images, texts, method)

    tower = FakeTower()
    app = create_app(small_settings, Watched(tiny_classifier, tower))
    with served(app, tower) as client:
        assert len(score(client, json_body(photo(), photo(), labels=LABELS))) == 2
    assert threads == {"decode"}


@pytest.fixture(scope="module")
def calibrated(
    tiny_checkpoint: Path, small_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """A server of the tiny checkpoint with a calibration of zero-shot scores."""
    directory = write_calibrated(tiny_checkpoint, tmp_path_factory.mktemp("data") / "calibrated")
    classifier = Classifier.load(directory, device="cpu", precision="fp32")
    with (
        live_server(create_app(small_settings, classifier)) as url,
        httpx.Client(base_url=url, timeout=30) as session,
    ):
        yield session


def standardized(cosine: np.ndarray, rows: np.ndarray, background: Moments) -> np.ndarray:
    """Subtract the mean cosine with a background and divide by its deviation."""
    mean, covariance = background.mean.numpy(), background.covariance.numpy()
    found: np.ndarray = (cosine - rows @ mean) / np.sqrt(
        np.einsum("nd,de,ne->n", rows, covariance, rows)
    )
    return found


@pytest.mark.parametrize("options", [{}, {"scoring": "calibrated"}, {"scoring": None}])
def test_calibrated_is_default_of_calibrated_checkpoint(
    calibrated: httpx.Client, options: dict[str, Any]
) -> None:
    answer = calibrated.post("/zero-shot", **json_body(photo(), labels=LABELS, **options)).json()
    assert answer["scoring"] == "calibrated"
    results = {
        key: calibrated.post("/embed", **arguments).json()["results"]
        for key, arguments in (
            ("images", raw(photo())),
            ("texts", {"json": {"texts": [f"a photo with {label}" for label in LABELS]}}),
        )
    }
    image = np.array(results["images"][0]["embedding"])
    texts = np.array([result["embedding"] for result in results["texts"]])
    cosine = texts @ image
    by_text = standardized(cosine, texts, CALIBRATION.photos)
    by_photo = standardized(cosine, image[None], CALIBRATION.texts)
    logits = CALIBRATION.scale * (by_text + by_photo) / 2 + CALIBRATION.offset
    expected = dict(zip(LABELS, 1 / (1 + np.exp(-logits)), strict=True))
    assert confidences(answer["results"][0]) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("scoring", SCORINGS)
def test_calibration_does_not_change_other_scorings(
    client: httpx.Client, calibrated: httpx.Client, scoring: str
) -> None:
    body = json_body(photo(), labels=LABELS, scoring=scoring)
    plain, found = (each.post("/zero-shot", **body).json() for each in (client, calibrated))
    assert plain["scoring"] == found["scoring"] == scoring
    # Confidences are rounded to six digits, so equal scores may differ by one of the last digit.
    assert confidences(found["results"][0]) == pytest.approx(
        confidences(plain["results"][0]), abs=2e-6
    )


def test_default_without_calibration_is_sigmoid(client: httpx.Client) -> None:
    answer = client.post("/zero-shot", **json_body(photo(), labels=LABELS)).json()
    assert answer["scoring"] == "sigmoid"


@pytest.mark.parametrize("build_body", BODY_BUILDERS)
def test_calibrated_without_calibration_is_refused(
    client: httpx.Client, build_body: BodyBuilder
) -> None:
    body = build_body(photo(), labels=LABELS, scoring="calibrated")
    answer = client.post("/zero-shot", **body)
    assert (answer.status_code, answer.json()["field"]) == (422, "scoring")
    assert "no calibration of zero-shot scores; use sigmoid" in answer.json()["detail"]
