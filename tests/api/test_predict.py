"""POST /predict: body formats, options, order, ids and sizes."""

from typing import Any

import httpx
import pytest
from PIL import ExifTags

from app.core.classifier import Classifier
from tests.support.photos import encoded, sample
from tests.support.requests import (
    BODY_BUILDERS,
    BodyBuilder,
    base64_text,
    json_body,
    multipart,
    photo,
    raw,
    truncated,
)


def predict(client: httpx.Client, arguments: dict[str, Any]) -> list[dict[str, Any]]:
    answer = client.post("/predict", **arguments)
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


def scores(result: dict[str, Any]) -> dict[str, float]:
    return {label["id"]: label["confidence"] for label in result["labels"]}


@pytest.fixture(scope="module")
def everything(client: httpx.Client) -> dict[str, float]:
    """Return every label's score for the sample photo."""
    return scores(predict(client, raw(photo(), all_scores=True))[0])


@pytest.mark.parametrize("build_body", BODY_BUILDERS)
def test_every_body_format_gets_documented_response(
    client: httpx.Client, tiny_classifier: Classifier, build_body: BodyBuilder
) -> None:
    answer = client.post("/predict", **build_body(photo(), min_confidence=0.1)).json()
    assert answer["model"] == {
        "name": "tiny",
        "version": "1.2.3",
        "labels_version": tiny_classifier.labels.version,
    }
    (result,) = answer["results"]
    assert list(result) == ["id", "status", "width", "height", "labels"]
    assert result["status"] == "ok"
    assert (result["width"], result["height"]) == (320, 213)
    keys = ["id", "name", "category", "confidence", "threshold", "parents"]
    assert result["labels"]
    assert all(list(label) == keys for label in result["labels"])


@pytest.mark.parametrize("build_body", BODY_BUILDERS)
def test_options_are_equal_in_every_body_format(
    client: httpx.Client, everything: dict[str, float], build_body: BodyBuilder
) -> None:
    categories = {label["category"] for label in client.get("/labels").json()["labels"][:1]}
    options = {
        "min_confidence": 0.05,
        "max_labels": 3,
        "include_labels": ["sauna", "beach"],
        "include_categories": sorted(categories),
        "exclude_labels": ["beach"],
    }
    (result,) = predict(client, build_body(photo(), **options))
    assert "beach" not in scores(result)
    assert len(result["labels"]) <= 3
    assert all(
        label["category"] in categories or label["id"] == "sauna" for label in result["labels"]
    )
    assert scores(result) == pytest.approx({id: everything[id] for id in scores(result)}, abs=1e-3)


def test_default_threshold_is_each_labels_serve_threshold(
    client: httpx.Client, tiny_classifier: Classifier, everything: dict[str, float]
) -> None:
    labels = tiny_classifier.labels
    own = dict(zip(labels.ids, labels.serve_thresholds.tolist(), strict=True))
    (result,) = predict(client, raw(photo()))
    assert set(scores(result)) == {id for id, score in everything.items() if score >= own[id]}
    assert {label["id"]: label["threshold"] for label in result["labels"]} == pytest.approx(
        {id: own[id] for id in scores(result)}
    )


@pytest.mark.parametrize("least", [0, 0.3, 1])
def test_min_confidence_replaces_all_thresholds(
    client: httpx.Client, everything: dict[str, float], least: float
) -> None:
    (result,) = predict(client, json_body(photo(), min_confidence=least))
    assert set(scores(result)) == {id for id, score in everything.items() if score >= least}
    assert all(label["threshold"] == pytest.approx(least) for label in result["labels"])


def test_all_scores_returns_all_labels_best_first(
    tiny_classifier: Classifier, everything: dict[str, float]
) -> None:
    assert set(everything) == set(tiny_classifier.labels.ids)
    assert list(everything.values()) == sorted(everything.values(), reverse=True)
    assert len(set(everything.values())) > 60  # otherwise a constant model would pass


def test_max_labels_keeps_best(client: httpx.Client, everything: dict[str, float]) -> None:
    (result,) = predict(client, multipart(photo(), min_confidence=0, max_labels=5))
    best = sorted(everything.values(), reverse=True)[:5]
    assert list(scores(result).values()) == pytest.approx(best, abs=1e-3)


def test_filters_include_union_then_exclude(
    client: httpx.Client, tiny_classifier: Classifier
) -> None:
    labels = tiny_classifier.labels
    first, second = labels.categories[:2]
    inside = [label.id for label in labels.labels if label.category == first]
    outside = next(label.id for label in labels.labels if label.category == second)

    def left(**options: Any) -> set[str]:
        return set(scores(predict(client, json_body(photo(), all_scores=True, **options))[0]))

    assert left(include_categories=[first], include_labels=[outside]) == {*inside, outside}
    assert left(include_categories=[first], exclude_labels=inside[:1]) == set(inside[1:])
    assert left(exclude_categories=labels.categories[1:]) == set(inside)
    assert left(include_labels=inside[:1], exclude_labels=inside[:1]) == set()


@pytest.mark.parametrize("build_body", BODY_BUILDERS)
@pytest.mark.parametrize("other", [{"max_labels": 3}, {"min_confidence": 0.5}])
def test_all_scores_with_limits_is_refused(
    client: httpx.Client, build_body: BodyBuilder, other: dict[str, Any]
) -> None:
    answer = client.post("/predict", **build_body(photo(), all_scores=True, **other))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_option")
    assert "all_scores does not go with max_labels or min_confidence" in answer.json()["detail"]


def test_json_id_defaults_to_index(client: httpx.Client) -> None:
    data = base64_text(photo())
    images = [{"id": "first/ä", "data": data}, {"data": data}, {"id": "last", "data": data}]
    results = predict(client, {"json": {"images": images}})
    assert [result["id"] for result in results] == ["first/ä", "1", "last"]


def test_part_id_is_file_name_and_unique(client: httpx.Client) -> None:
    names = ["pool.jpg", "a.jpg", "strand ü.jpg", "a.jpg"]
    results = predict(client, {"files": [("images", (name, photo())) for name in names]})
    assert [result["id"] for result in results] == [
        "pool.jpg",
        "a.jpg",
        "strand ü.jpg",
        "a.jpg#2",
    ]


@pytest.mark.parametrize("build_body", [multipart, json_body])
def test_bad_image_fails_alone_in_its_position(
    client: httpx.Client, build_body: BodyBuilder
) -> None:
    alone = predict(client, raw(photo("china"), all_scores=True))[0]
    results = predict(
        client, build_body(photo(), truncated(), photo("china"), b"", all_scores=True)
    )
    assert [result["status"] for result in results] == ["ok", "error", "ok", "error"]
    assert results[1]["error"]["code"] == "corrupt"
    assert results[3]["error"]["code"] == "empty"
    assert list(results[1]) == ["id", "status", "error"]
    assert scores(results[2]) == pytest.approx(scores(alone), abs=1e-3)


@pytest.mark.parametrize("build_body", [multipart, json_body])
def test_all_images_bad_gives_problem_with_results(
    client: httpx.Client, build_body: BodyBuilder
) -> None:
    answer = client.post("/predict", **build_body(truncated(), b"words"))
    problem = answer.json()
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["code"] == "unusable_images"
    assert [result["error"]["code"] for result in problem["results"]] == ["corrupt", "not_an_image"]


def test_size_is_original_after_exif(client: httpx.Client) -> None:
    image = sample("coffee")
    exif = image.getexif()
    exif[ExifTags.Base.Orientation] = 6
    files = [
        encoded(image, "JPEG"),
        encoded(image, "JPEG", exif=exif),
        encoded(image, "PNG", exif=exif),
    ]
    sizes = [(result["width"], result["height"]) for result in predict(client, multipart(*files))]
    assert sizes == [(600, 400), (400, 600), (400, 600)]


def test_server_timing_header_is_sent(client: httpx.Client) -> None:
    options_of: dict[str, dict[str, str]] = {
        "/predict": {},
        "/embed": {},
        "/zero-shot": {"labels": "cat"},
        "/validate": {"declared": "sauna"},
        "/gallery": {},
    }
    for path, options in options_of.items():
        header = client.post(path, **raw(photo(), **options)).headers["server-timing"]
        durations = dict(stage.split(";dur=") for stage in header.split(", "))
        assert list(durations) == ["decode", "queue", "infer"]
        assert all(0 <= float(ms) < 30_000 for ms in durations.values())
        assert float(durations["infer"]) > 0


def test_request_id_is_echoed_or_generated(client: httpx.Client) -> None:
    sent = "trace-01:ab/cd=="
    assert client.get("/healthz", headers={"X-Request-ID": sent}).headers["x-request-id"] == sent
    made = [client.get("/healthz").headers["x-request-id"] for _ in range(2)]
    assert made[0] != made[1]
    assert all(len(id) == 32 for id in made)


@pytest.mark.parametrize("sent", ["", "two words", "x" * 129, '<script>"', "a,b"])
def test_invalid_request_id_is_replaced(client: httpx.Client, sent: str) -> None:
    answer = client.post("/predict", headers={"X-Request-ID": sent})
    assert answer.status_code == 415
    assert answer.headers["x-request-id"] != sent
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
