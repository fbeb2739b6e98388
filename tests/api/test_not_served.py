"""A label without a serve threshold: when it is in a response, and what GET /labels says of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import mumic
from app.core.classifier import Classifier
from app.core.labels import Label, LabelSet, Thresholds
from app.main import create_app
from app.settings import Settings
from tests.support.requests import BODY_BUILDERS, BodyBuilder, photo, raw
from tests.support.tiny import live_server, write_tiny


def label(id: str, **fields: Any) -> Label:
    return Label(id=id, name=id, description=f"the {id}", category="Water", **fields)


LABELS = LabelSet(
    version="1",
    labels=(
        label("pool", thresholds=Thresholds(serve=0.0), evidence="human"),
        label("spa", thresholds=Thresholds(serve=None), evidence="none"),
        label("sea", thresholds=Thresholds(serve=0.0)),
    ),
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("checkpoints") / "some", LABELS)


@pytest.fixture(scope="module")
def client(checkpoint: Path) -> Iterator[httpx.Client]:
    classifier = Classifier.load(checkpoint, device="cpu", precision="fp32")
    with (
        live_server(create_app(Settings(checkpoint=checkpoint), classifier)) as url,
        httpx.Client(base_url=url, timeout=30) as session,
    ):
        yield session


def thresholds(client: httpx.Client, request: dict[str, Any]) -> dict[str, float | None]:
    """Return the threshold of each label in the response to one photo."""
    (result,) = client.post("/predict", **request).raise_for_status().json()["results"]
    return {each["id"]: each["threshold"] for each in result["labels"]}


@pytest.mark.parametrize("build_body", BODY_BUILDERS)
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"pool": 0.0, "sea": 0.0}),
        ({"include_labels": "spa"}, {}),
        ({"include_categories": "Water"}, {"pool": 0.0, "sea": 0.0}),
        ({"min_confidence": 0}, {"pool": 0.0, "spa": 0.0, "sea": 0.0}),
        ({"min_confidence": 0, "include_labels": "spa"}, {"spa": 0.0}),
        ({"min_confidence": 0, "exclude_labels": "spa"}, {"pool": 0.0, "sea": 0.0}),
        ({"all_scores": True}, {"pool": 0.0, "spa": None, "sea": 0.0}),
        ({"all_scores": True, "include_labels": "spa"}, {"spa": None}),
    ],
)
def test_not_served_label_needs_min_confidence_or_all_scores(
    client: httpx.Client,
    build_body: BodyBuilder,
    options: dict[str, Any],
    expected: dict[str, float | None],
) -> None:
    given = {key: [value] if isinstance(value, str) else value for key, value in options.items()}
    assert thresholds(client, build_body(photo(), **given)) == expected


def test_not_served_label_below_min_confidence_is_left_out(client: httpx.Client) -> None:
    (result,) = client.post("/predict", **raw(photo(), all_scores=True)).json()["results"]
    scores = {each["id"]: each["confidence"] for each in result["labels"]}
    assert list(scores.values()) == sorted(scores.values(), reverse=True)
    assert 1e-3 < scores["spa"] < 1 - 1e-3
    assert "spa" in thresholds(client, raw(photo(), min_confidence=scores["spa"] - 1e-3))
    assert "spa" not in thresholds(client, raw(photo(), min_confidence=scores["spa"] + 1e-3))


def test_labels_state_evidence_and_null_threshold(client: httpx.Client) -> None:
    stated = {each["id"]: each for each in client.get("/labels").json()["labels"]}
    assert {id: (each["evidence"], each["thresholds"]["serve"]) for id, each in stated.items()} == {
        "pool": ("human", 0.0),
        "spa": ("none", None),
        "sea": (None, 0.0),
    }
    assert {each["thresholds"]["store"] for each in stated.values()} == {0.05}


def test_tagger_selects_not_served_label_like_server(checkpoint: Path) -> None:
    tagger = mumic.load(checkpoint, device="cpu", precision="fp32")

    def tagged(**options: Any) -> dict[str, float | None]:
        (result,) = tagger.tag([photo()], **options)
        return {tag.label.id: tag.threshold for tag in result.tags}

    assert tagged() == {"pool": 0.0, "sea": 0.0}
    assert tagged(min_confidence=0) == {"pool": 0.0, "spa": 0.0, "sea": 0.0}
    assert tagged(all_scores=True) == {"pool": 0.0, "spa": None, "sea": 0.0}
