"""POST /embed: unit vectors of photos and texts, in three encodings."""

import base64
import io
from typing import Any

import httpx
import numpy as np
import pytest

from app.core.classifier import Classifier
from tests.support.requests import (
    BODY_BUILDERS,
    BodyBuilder,
    json_body,
    multipart,
    photo,
    raw,
    truncated,
)

DIMENSION = 32  # of the tiny checkpoint
NPY = {"accept": "application/x-npy"}


def embed(client: httpx.Client, arguments: dict[str, Any]) -> list[dict[str, Any]]:
    answer = client.post("/embed", **arguments)
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


def read_npy(answer: httpx.Response) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-npy"
    rows: np.ndarray = np.load(io.BytesIO(answer.content), allow_pickle=False)
    return rows


@pytest.mark.parametrize("build_body", BODY_BUILDERS)
def test_every_body_format_gets_unit_vector(client: httpx.Client, build_body: BodyBuilder) -> None:
    (result,) = embed(client, build_body(photo()))
    assert list(result) == ["id", "status", "width", "height", "dimension", "embedding"]
    assert (result["width"], result["height"]) == (320, 213)
    assert result["dimension"] == len(result["embedding"]) == DIMENSION
    assert np.linalg.norm(result["embedding"]) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("build_body", BODY_BUILDERS)
def test_base64_is_little_endian_float32(client: httpx.Client, build_body: BodyBuilder) -> None:
    plain = embed(client, build_body(photo()))[0]["embedding"]
    (result,) = embed(client, build_body(photo(), encoding="base64"))
    written = np.frombuffer(base64.b64decode(result["embedding"], validate=True), dtype="<f4")
    assert result["dimension"] == len(written)
    assert written == pytest.approx(np.array(plain, np.float32), abs=1e-6)


def test_npy_array_has_one_row_per_photo_in_order(client: httpx.Client) -> None:
    photos = [photo("chelsea"), photo("coffee"), photo("china")]
    answer = client.post("/embed", **multipart(*photos), headers=NPY)
    rows = read_npy(answer)
    assert (rows.shape, rows.dtype.str) == ((3, DIMENSION), "<f4")
    alone = [embed(client, raw(data))[0]["embedding"] for data in photos]
    assert rows == pytest.approx(np.array(alone), abs=1e-4)
    assert "infer;dur=" in answer.headers["server-timing"]


@pytest.mark.parametrize("build_body", [multipart, json_body])
def test_npy_request_with_bad_image_is_refused(
    client: httpx.Client, build_body: BodyBuilder
) -> None:
    arguments = build_body(photo(), truncated(), photo("china"))
    answer = client.post("/embed", **arguments, headers=NPY)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    (bad,) = answer.json()["results"]
    assert bad["id"] in ("1", "1.jpg")
    assert bad["error"]["code"] == "corrupt"
    statuses = [result["status"] for result in embed(client, arguments)]
    assert statuses == ["ok", "error", "ok"]


def test_texts_are_embedded_without_template(
    client: httpx.Client, tiny_classifier: Classifier
) -> None:
    texts = ["a photo with beach", "beach", "a photo with beach"]
    results = embed(client, {"json": {"texts": texts}})
    assert [result["id"] for result in results] == ["0", "1", "2"]
    assert all(list(r) == ["id", "status", "dimension", "embedding"] for r in results)
    rows = np.array([result["embedding"] for result in results])
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1, abs=1e-5)
    assert (rows[0] == rows[2]).all()
    assert np.abs(rows[0] - rows[1]).max() > 0.01
    prompts = tiny_classifier.labels.prompts
    own = tiny_classifier.text_embeddings[prompts.index("a photo with beach")]
    assert rows[0] == pytest.approx(own.numpy(), abs=1e-5)


def test_texts_support_base64_and_npy(client: httpx.Client) -> None:
    texts = {"texts": ["beach", "sauna"]}
    plain = np.array([result["embedding"] for result in embed(client, {"json": texts})])
    coded = embed(client, {"json": {**texts, "encoding": "base64"}})
    decoded = [np.frombuffer(base64.b64decode(r["embedding"]), dtype="<f4") for r in coded]
    assert np.array(decoded) == pytest.approx(plain, abs=1e-6)
    rows = read_npy(client.post("/embed", json=texts, headers=NPY))
    assert rows == pytest.approx(plain, abs=1e-6)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "give either images or texts"),
        ({"images": [{"data": "aa"}], "texts": ["beach"]}, "give either images or texts"),
        ({"texts": []}, "at least 1"),
        ({"texts": [" "]}, "at least 1 character"),
        ({"texts": [str(number) for number in range(1001)]}, "at most 1000"),
        ({"texts": "beach"}, "valid list"),
        ({"texts": ["beach"], "encoding": "hex"}, "'float' or 'base64'"),
    ],
)
def test_body_without_images_or_texts_is_refused(
    client: httpx.Client, body: dict[str, Any], words: str
) -> None:
    answer = client.post("/embed", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_option")
    assert words in answer.json()["detail"]
    assert answer.json()["field"]
