"""Labels are ordered by their logits where the probabilities round to 0 or 1."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mumic
from app.core.classifier import Classifier
from app.main import create_app
from app.settings import Settings
from tests.support.requests import json_body, photo, raw
from tests.support.tiny import SaturatedClassifier, live_server

LABELS = [
    *("cat", "kitten", "tabby cat", "pet", "animal", "dog", "cup of coffee", "temple", "flower"),
    *("swimming pool", "beach", "bedroom", "close-up of a cat"),
]
SCORINGS = ["sigmoid", "softmax", "pair"]


@pytest.fixture(scope="module")
def classifier(tiny_classifier: Classifier) -> Classifier:
    return SaturatedClassifier(tiny_classifier)


@pytest.fixture(scope="module")
def saturated(classifier: Classifier, small_settings: Settings) -> Iterator[httpx.Client]:
    with (
        live_server(create_app(small_settings, classifier)) as url,
        httpx.Client(base_url=url, timeout=30) as session,
    ):
        yield session


def embeddings(client: httpx.Client, request: dict[str, Any]) -> np.ndarray:
    results = client.post("/embed", **request).raise_for_status().json()["results"]
    return np.array([result["embedding"] for result in results])


def by_cosine(client: httpx.Client, texts: dict[str, str]) -> list[str]:
    """Return the keys of texts by their cosine with the sample photo, highest first."""
    prompts = {"json": {"texts": list(texts.values())}}
    cosines = embeddings(client, prompts) @ embeddings(client, raw(photo()))[0]
    return [list(texts)[i] for i in np.argsort(-cosines)]


@pytest.mark.parametrize("scoring", SCORINGS)
@pytest.mark.parametrize("labels", [LABELS, LABELS[::-1], sorted(LABELS)], ids=["a", "b", "c"])
def test_zero_shot_order_is_that_of_cosines(
    saturated: httpx.Client, labels: list[str], scoring: str
) -> None:
    answer = saturated.post("/zero-shot", **json_body(photo(), labels=labels, scoring=scoring))
    scores = answer.json()["results"][0]["scores"]
    confidences = [score["confidence"] for score in scores]
    assert confidences == sorted(confidences, reverse=True)
    assert len(set(confidences)) <= 3  # ties, which probabilities cannot order
    expected = by_cosine(saturated, {label: f"a photo with {label}" for label in LABELS})
    assert [score["label"] for score in scores] == expected


@pytest.mark.parametrize(
    "options", [{"all_scores": True}, {"min_confidence": 0}, {"max_labels": 7}, {}]
)
def test_predict_order_is_that_of_cosines(
    saturated: httpx.Client, classifier: Classifier, options: dict[str, Any]
) -> None:
    answer = saturated.post("/predict", **json_body(photo(), **options)).json()
    labels = [label["id"] for label in answer["results"][0]["labels"]]
    label_set = classifier.labels
    expected = by_cosine(saturated, dict(zip(label_set.ids, label_set.prompts, strict=True)))
    assert len(labels) > 1
    assert labels == expected[: len(labels)]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(labels=st.permutations(LABELS), scoring=st.sampled_from(SCORINGS))
def test_zero_shot_order_does_not_depend_on_label_order(
    classifier: Classifier, labels: list[str], scoring: Any
) -> None:
    tagger = mumic.Tagger(classifier)
    (one,) = tagger.zero_shot([photo()], LABELS, scoring=scoring)
    (other,) = tagger.zero_shot([photo()], labels, scoring=scoring)
    assert [score.label for score in one.scores] == [score.label for score in other.scores]


def test_tagger_orders_saturated_labels_by_cosine(
    saturated: httpx.Client, classifier: Classifier, tmp_path: Path
) -> None:
    file = tmp_path / "cat.jpg"
    file.write_bytes(photo())
    (tagged,) = mumic.Tagger(classifier).tag([file], all_scores=True)
    label_set = classifier.labels
    expected = by_cosine(saturated, dict(zip(label_set.ids, label_set.prompts, strict=True)))
    assert [tag.label.id for tag in tagged.tags] == expected
