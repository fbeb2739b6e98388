"""POST /gallery: choices, duplicates, photos that are left out, and errors."""

from typing import Any

import httpx
import pytest
from PIL import Image

from app.core.classifier import Classifier
from app.main import create_app
from app.settings import Settings
from tests.support.photos import encoded, sample
from tests.support.requests import base64_text, json_body, metric, multipart, photo, truncated
from tests.support.tiny import live_server

DARK = encoded(sample("china").point(lambda value: int(0.1 * value)), "JPEG")


def gallery(client: httpx.Client, arguments: dict[str, Any]) -> dict[str, Any]:
    answer = client.post("/gallery", **arguments)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def problem(client: httpx.Client, arguments: dict[str, Any]) -> dict[str, Any]:
    answer = client.post("/gallery", **arguments)
    assert answer.status_code == 422, answer.text
    body: dict[str, Any] = answer.json()
    return body


@pytest.mark.parametrize("build_body", [multipart, json_body])
def test_every_photo_is_accounted_for(client: httpx.Client, build_body: Any) -> None:
    sent = [photo(), photo("china"), photo(), DARK, truncated(), photo("coffee")]
    body = gallery(client, build_body(*sent, count=2))
    assert list(body) == ["model", "photos", "left_out", "duplicates", "results"]
    ids = [result["id"] for result in body["results"]]
    assert [result["status"] for result in body["results"]] == ["ok"] * 4 + ["error", "ok"]
    assert set(body["results"][0]["quality"]) == {"sharpness", "brightness", "contrast", "text"}
    left_out = {each["id"]: each for each in body["left_out"]}
    assert left_out[ids[2]]["reason"] == "duplicate"
    assert left_out[ids[2]]["duplicate_of"] == ids[0]
    assert left_out[ids[3]]["reason"] == "too_dark"
    assert {"best": ids[0], "others": [{"id": ids[2], "similarity": 1.0}]} in body["duplicates"]
    chosen = [each["id"] for each in body["photos"]]
    assert 1 <= len(chosen) <= 2
    assert sorted([*chosen, *left_out, ids[4]]) == sorted(ids)
    assert all(each["reason"] and each["gain"] for each in body["photos"])


def test_same_request_gets_same_photos_in_same_order(client: httpx.Client) -> None:
    request = multipart(photo(), photo("china"), photo("coffee"))
    first, second = gallery(client, request), gallery(client, request)
    # Confidences differ in their last digits, as photos meet in other batches.
    assert [each["id"] for each in first["photos"]] == [each["id"] for each in second["photos"]]
    assert first["left_out"] == second["left_out"]


def test_weights_change_gains(client: httpx.Client) -> None:
    zero = dict.fromkeys(client.get("/labels").json()["categories"], 0)
    body = gallery(client, json_body(photo(), photo("china"), weights=zero))
    assert {each["gain"]["coverage"] for each in body["photos"]} == {0}


def test_count_above_photos_is_refused(client: httpx.Client) -> None:
    found = problem(client, multipart(photo(), count=2))
    assert (found["code"], found["field"]) == ("invalid_option", "count")
    assert found["detail"] == "count: 2 of 1 photos; ask for at most 1"


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"Rooms": 1}, "did you mean Room or Bathroom?"),
        ({"Room": -1}, "greater than or equal to 0"),
        ({"Room": 101}, "less than or equal to 100"),
    ],
)
def test_invalid_weights_are_refused(
    client: httpx.Client, weights: dict[str, float], message: str
) -> None:
    found = problem(client, json_body(photo(), weights=weights))
    assert found["code"] == "invalid_option"
    assert found["field"].startswith("weights")
    assert message in found["detail"]


def test_empty_listing_is_refused(client: httpx.Client) -> None:
    found = problem(client, {"json": {"images": []}})
    assert found["detail"] == "images: no image was sent; send 1 to 64"


def test_listing_without_usable_photo_is_refused_with_each_reason(client: httpx.Client) -> None:
    images = [
        {"id": "night", "data": base64_text(DARK)},
        {"id": "cut", "data": base64_text(truncated())},
    ]
    found = problem(client, {"json": {"images": images}})
    assert found["code"] == "unusable_images"
    assert [(each["id"], each["error"]["code"]) for each in found["results"]] == [
        ("night", "too_dark"),
        ("cut", "corrupt"),
    ]


def test_cached_photo_is_measured_without_another_model_call(
    tiny_classifier: Classifier, small_settings: Settings
) -> None:
    settings = small_settings.model_copy(update={"embedding_cache_bytes": 2**20})
    calls = "mumic_infer_seconds_count"
    with (
        live_server(create_app(settings, tiny_classifier)) as url,
        httpx.Client(base_url=url, timeout=30) as client,
    ):
        expected = client.post("/predict", **multipart(photo())).json()
        before = metric(client, calls)
        assert before > 0
        first = gallery(client, multipart(photo()))
        assert gallery(client, multipart(photo())) == first
        assert client.post("/predict", **multipart(photo())).json() == expected
        assert metric(client, calls) == before
    assert first["results"][0]["quality"]["sharpness"] > 0


def test_small_plain_image_is_blurred(client: httpx.Client) -> None:
    plain = encoded(Image.new("RGB", (16, 16), "white"), "PNG")
    found = problem(client, multipart(plain))
    assert found["results"][0]["error"]["code"] == "blurred"
