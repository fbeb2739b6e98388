"""The same photo gives the same probabilities in every body format and on the command line."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.core.classifier import Classifier
from app.core.images import ImageLimits, load_pixels
from tests.support.command import mumic
from tests.support.photos import NAMES
from tests.support.requests import BODY_BUILDERS, BodyBuilder, json_body, multipart, photo, raw

WITHIN = 1e-3


def scores(result: dict[str, Any]) -> dict[str, float]:
    return {label["id"]: label["confidence"] for label in result["labels"]}


@pytest.fixture(scope="module")
def direct(tiny_classifier: Classifier) -> dict[str, float]:
    """Compute the probabilities of the sample photo without a server."""
    values = load_pixels(photo(), ImageLimits(), tiny_classifier.preprocess).values
    embeddings = tiny_classifier.embed_images(values[None])
    probabilities = tiny_classifier.score_embeddings(embeddings).sigmoid()[0].tolist()
    return dict(zip(tiny_classifier.labels.ids, probabilities, strict=True))


@pytest.mark.parametrize("build_body", BODY_BUILDERS)
def test_single_image_in_every_format_matches_reference(
    client: httpx.Client, direct: dict[str, float], build_body: BodyBuilder
) -> None:
    answer = client.post("/predict", **build_body(photo(), all_scores=True)).json()
    assert scores(answer["results"][0]) == pytest.approx(direct, abs=WITHIN)


@pytest.mark.parametrize("build_body", [multipart, json_body])
def test_batch_of_32_matches_reference(
    client: httpx.Client, direct: dict[str, float], build_body: BodyBuilder
) -> None:
    photos = [photo(NAMES[1 + index % 3]) for index in range(32)]
    photos[17] = photo()
    answer = client.post("/predict", **build_body(*photos, all_scores=True)).json()
    assert scores(answer["results"][17]) == pytest.approx(direct, abs=WITHIN)
    assert scores(answer["results"][16]) != pytest.approx(direct, abs=0.05)


def test_command_line_matches_reference(
    client: httpx.Client,
    tiny_checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = [tmp_path / f"{name}.jpg" for name in NAMES]
    for name, file in zip(NAMES, files, strict=True):
        file.write_bytes(photo(name))
    where = ("--checkpoint", tiny_checkpoint, "--device", "cpu", "--precision", "fp32")
    run = mumic(monkeypatch, capsys, "predict", "--json", *where, *files)
    assert run.code == 0
    said = json.loads(run.out)
    for name, result in zip(NAMES, said["results"], strict=True):
        served = client.post("/predict", **raw(photo(name))).json()
        assert said["model"] == served["model"]
        assert list(result) == list(served["results"][0])
        assert scores(result) == pytest.approx(scores(served["results"][0]), abs=WITHIN)
        assert scores(result)
