"""Large responses are compressed with gzip for clients that accept it."""

import gzip
import json

import httpx
import pytest

from app.serving.http.middleware import MIN_GZIP_BYTES
from tests.support.requests import json_body, multipart, photo, raw

LARGE = {"all_scores": "true"}
MORE_ACCEPTED = ["*", "GZIP", "x-gzip", "br;q=1, *;q=0.1", "gzip;Q=1.0, *;q=0", "x-gzip;q=0, gzip"]
MORE_REFUSED = ["*;q=0", "gzip;q=0, *", "gzip ; q=0.000", "gzipped"]


def large(client: httpx.Client, coding: str) -> httpx.Response:
    """Request a response of about 15 kB and do not decode it."""
    request = client.build_request(
        "POST", "/predict", **multipart(photo(), **LARGE), headers={"accept-encoding": coding}
    )
    answer = client.send(request, stream=True)
    answer.extensions["raw"] = b"".join(answer.iter_raw())
    return answer


@pytest.mark.parametrize(
    "coding", ["gzip", "gzip, deflate, br", "gzip;q=0.5, identity;q=0.1", *MORE_ACCEPTED]
)
def test_large_response_is_compressed(client: httpx.Client, coding: str) -> None:
    answer = large(client, coding)
    sent = answer.extensions["raw"]
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "Accept-Encoding"
    assert int(answer.headers["content-length"]) == len(sent)
    body = gzip.decompress(sent)
    assert len(sent) < len(body) / 2
    assert len(json.loads(body)["results"][0]["labels"]) == 120


@pytest.mark.parametrize(
    "coding", ["", "identity", "br", "gzip;q=0", "br, gzip; q=0.0, identity", *MORE_REFUSED]
)
def test_response_is_plain_for_other_clients(client: httpx.Client, coding: str) -> None:
    answer = large(client, coding)
    assert "content-encoding" not in answer.headers
    assert answer.headers["vary"] == "Accept-Encoding"
    assert len(json.loads(answer.extensions["raw"])["results"][0]["labels"]) == 120


def test_small_response_is_not_compressed(client: httpx.Client) -> None:
    answer = client.post("/predict", **multipart(photo(), max_labels=3))
    assert int(answer.headers["content-length"]) < MIN_GZIP_BYTES
    assert "content-encoding" not in answer.headers


def test_embeddings_as_array_are_not_compressed(client: httpx.Client) -> None:
    texts = {"texts": [f"text {n}" for n in range(40)]}
    array = client.post("/embed", json=texts, headers={"accept": "application/x-npy"})
    assert int(array.headers["content-length"]) > MIN_GZIP_BYTES
    assert "content-encoding" not in array.headers


def test_large_problem_is_compressed(client: httpx.Client) -> None:
    problem = client.post("/predict", **json_body(*[b"not an image"] * 60))
    assert problem.status_code == 422
    assert problem.headers["content-encoding"] == "gzip"
    assert len(problem.json()["results"]) == 60


def test_compressed_and_plain_responses_are_equal(client: httpx.Client) -> None:
    bodies = [
        client.post("/embed", **raw(photo())).json(),
        client.get("/labels").json(),
    ]
    client.headers["accept-encoding"], before = "identity", client.headers["accept-encoding"]
    try:
        assert [
            client.post("/embed", **raw(photo())).json(),
            client.get("/labels").json(),
        ] == bodies
    finally:
        client.headers["accept-encoding"] = before
