"""POST /similar: matches by photo and text, filters, changes of the index, and errors."""

import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.core.checkpoint import read_checkpoint
from app.core.classifier import Classifier
from app.errors import PhotoIndexError
from app.main import create_app
from app.settings import Settings
from app.tagger import Tagger
from tests.support.index import embed_bytes, update_index
from tests.support.reloading import HEADERS, reloadable
from tests.support.requests import (
    BODY_BUILDERS,
    BodyBuilder,
    json_body,
    metric,
    multipart,
    photo,
    raw,
    truncated,
)
from tests.support.tiny import live_server, write_tiny

FILES = {
    "cat.jpg": photo(),
    "copies/cat.jpg": photo(),
    "copies/small.jpg": photo(side_px=160),
    "coffee.jpg": photo("coffee"),
    "temple.jpg": photo("china"),
}


def write_index(directory: Path, classifier: Classifier) -> Path:
    tagger = Tagger(classifier)
    update_index(directory, classifier.checkpoint, FILES, tagger.embed)
    return directory


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, tiny_classifier: Classifier) -> Path:
    return write_index(tmp_path_factory.mktemp("indexes") / "index", tiny_classifier)


@pytest.fixture(scope="module")
def server(
    index: Path, tiny_classifier: Classifier, small_settings: Settings
) -> Iterator[httpx.Client]:
    settings = small_settings.model_copy(update={"index": index})
    with (
        live_server(create_app(settings, tiny_classifier)) as url,
        httpx.Client(base_url=url, timeout=30) as client,
    ):
        yield client


def similar(client: httpx.Client, arguments: dict[str, Any]) -> dict[str, Any]:
    answer = client.post("/similar", **arguments)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def problem(client: httpx.Client, arguments: dict[str, Any]) -> dict[str, Any]:
    answer = client.post("/similar", **arguments)
    assert answer.status_code == 422, answer.text
    body: dict[str, Any] = answer.json()
    return body


def match_ids(result: dict[str, Any]) -> list[str]:
    return [match["id"] for match in result["matches"]]


@pytest.mark.parametrize("build_body", BODY_BUILDERS)
def test_photo_finds_its_copies_first(server: httpx.Client, build_body: BodyBuilder) -> None:
    body = similar(server, build_body(photo(), count=4))
    assert list(body) == ["model", "index", "results"]
    assert body["index"]["photos"] == 5
    (result,) = body["results"]
    assert match_ids(result)[:3] == ["cat.jpg", "copies/cat.jpg", "copies/small.jpg"]
    first, _, small, other = result["matches"]
    assert first["similarity"] == 1
    assert (small["width"], small["height"]) == (160, 106)
    assert [match["duplicate"] for match in (first, small, other)] == [
        True,
        small["similarity"] >= 0.95,
        other["similarity"] >= 0.95,
    ]


def test_matches_have_labels_of_predict(server: httpx.Client) -> None:
    (predicted,) = server.post("/predict", **raw(photo())).json()["results"]
    (result,) = similar(server, raw(photo(), count=1))["results"]
    labels = result["matches"][0]["labels"]
    assert labels
    expected = {each["id"]: each["confidence"] for each in predicted["labels"]}
    assert {each["id"]: each["confidence"] for each in labels} == pytest.approx(expected, abs=1e-5)


def test_text_finds_photos_by_cosine(server: httpx.Client, tiny_classifier: Classifier) -> None:
    texts = ["a pool", "a bed"]
    body = similar(server, {"json": {"texts": texts, "count": 5}})
    assert [result["id"] for result in body["results"]] == ["0", "1"]
    for text, result in zip(texts, body["results"], strict=True):
        query = tiny_classifier.embed_texts([text]).numpy()[0]
        rows = [each.embedding for each in Tagger(tiny_classifier).embed([*FILES.values()])]
        cosines = {
            id: float(query @ row) for id, row in zip(FILES, rows, strict=True) if row is not None
        }
        assert {m["id"]: m["similarity"] for m in result["matches"]} == pytest.approx(
            cosines, abs=1e-5
        )
        found = [match["similarity"] for match in result["matches"]]
        assert found == sorted(found, reverse=True)


def test_bad_photo_keeps_its_position(server: httpx.Client) -> None:
    body = similar(server, multipart(photo("china"), truncated(), photo("coffee"), count=1))
    assert [result["status"] for result in body["results"]] == ["ok", "error", "ok"]
    assert match_ids(body["results"][0]) == ["temple.jpg"]
    assert match_ids(body["results"][2]) == ["coffee.jpg"]


def test_filters_select_matches(server: httpx.Client) -> None:
    shown = {
        match["id"]: {label["id"] for label in match["labels"]}
        for match in similar(server, raw(photo()))["results"][0]["matches"]
    }
    label = sorted(set.union(*shown.values()) - set.intersection(*shown.values()))[0]
    with_label = {id for id, labels in shown.items() if label in labels}
    (result,) = similar(server, json_body(photo(), include_labels=[label]))["results"]
    assert set(match_ids(result)) == with_label
    (result,) = similar(server, json_body(photo(), exclude_labels=[label]))["results"]
    assert set(match_ids(result)) == shown.keys() - with_label
    (result,) = similar(server, json_body(photo(), min_similarity=0.9999))["results"]
    assert match_ids(result) == ["cat.jpg", "copies/cat.jpg"]


def test_search_time_is_reported(server: httpx.Client) -> None:
    before = metric(server, "mumic_search_seconds_count")
    answer = server.post("/similar", **raw(photo()))
    names = [each.partition(";")[0] for each in answer.headers["Server-Timing"].split(", ")]
    assert names == ["decode", "queue", "infer", "search"]
    texts = server.post("/similar", json={"texts": ["a pool"]})
    assert texts.headers["Server-Timing"].startswith("search;dur=")
    assert metric(server, "mumic_search_seconds_count") == before + 2
    assert metric(server, "mumic_index_photos") == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (json_body(photo(), count=0), "count: .*greater than or equal to 1"),
        (json_body(photo(), count=101), "count: .*less than or equal to 100"),
        (json_body(photo(), min_similarity=1.5), "min_similarity: .*less than or equal to 1"),
        (json_body(photo(), include_labels=["swimming_pol"]), "did you mean swimming_pool"),
        (json_body(photo(), exclude_categories=["Rooms"]), "did you mean Room"),
        (json_body(photo(), limit=3), "limit: unknown option"),
        ({"json": {"texts": ["a"] * 65}}, "texts: 65 were sent; at most 64 are allowed"),
        ({"json": {"texts": ["a"], "images": []}}, "either images or texts"),
        ({"json": {"count": 3}}, "either images or texts"),
    ],
)
def test_invalid_options_are_refused(
    server: httpx.Client, arguments: dict[str, Any], message: str
) -> None:
    found = problem(server, arguments)
    assert found["code"] == "invalid_option"
    assert re.search(message, found["detail"]), found["detail"]


def test_text_that_is_too_long_is_refused(server: httpx.Client) -> None:
    assert problem(server, {"json": {"texts": ["pool " * 60]}})["code"] == "invalid_text"


def test_server_without_index_says_how_to_make_one(client: httpx.Client) -> None:
    answer = client.post("/similar", **raw(photo()))
    assert (answer.status_code, answer.json()["code"]) == (404, "no_index")
    assert "mumic index FOLDER --out INDEX" in answer.json()["detail"]
    assert metric(client, "mumic_index_photos") == 0


def test_server_refuses_to_start_with_index_of_other_model(
    index: Path, tmp_path: Path, tiny_classifier: Classifier
) -> None:
    other = write_tiny(tmp_path / "other", seed=1)
    classifier = Classifier.load(other, device="cpu", precision="fp32")
    with pytest.raises(PhotoIndexError, match="--rebuild"):
        create_app(Settings(checkpoint=other, index=index), classifier)
    with pytest.raises(PhotoIndexError, match="does not exist"):
        create_app(Settings(index=tmp_path / "none"), tiny_classifier)


@pytest.fixture
def fast_refresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.serving.inference.served_index.REFRESH_S", 0.01)


def wait_for_photos(client: httpx.Client, photos: int) -> dict[str, Any]:
    pause = threading.Event()
    for _ in range(3000):
        body = similar(client, raw(photo()))
        if body["index"]["photos"] == photos:
            return body
        pause.wait(0.01)
    raise AssertionError(f"the index never had {photos} photos")


@pytest.mark.usefixtures("fast_refresh")
def test_changed_index_is_picked_up(index: Path, tmp_path: Path, tiny_checkpoint: Path) -> None:
    copy = Path(shutil.copytree(index, tmp_path / "index"))
    checkpoint = read_checkpoint(tiny_checkpoint)
    with reloadable(tiny_checkpoint, index=copy) as client:
        before = similar(client, raw(photo()))
        update_index(copy, checkpoint, FILES | {"new": b"new"}, embed_bytes)
        after = wait_for_photos(client, 6)
        assert after["index"]["version"] > before["index"]["version"]
        copy.rename(tmp_path / "gone")  # as an index that is replaced
        pause = threading.Event()
        while metric(client, "mumic_index_last_refresh_successful"):
            pause.wait(0.01)
        assert similar(client, raw(photo()))["index"]["photos"] == 6
        update_index(copy, checkpoint, {"a": b"a"}, embed_bytes)  # another table in its place
        wait_for_photos(client, 1)
        assert metric(client, "mumic_index_last_refresh_successful") == 1


def test_reload_to_other_model_needs_rebuilt_index(
    index: Path, tmp_path: Path, tiny_checkpoint: Path
) -> None:
    copy = Path(shutil.copytree(index, tmp_path / "index"))
    other = write_tiny(tmp_path / "other", seed=1, version="2")
    with reloadable(tiny_checkpoint, index=copy) as client:
        first = similar(client, raw(photo(), count=1))
        params = {"checkpoint": str(other)}
        refused = client.post("/admin/reload", headers=HEADERS, params=params)
        assert (refused.status_code, refused.json()["code"]) == (422, "checkpoint_refused")
        assert "--rebuild" in refused.json()["detail"]
        assert similar(client, raw(photo(), count=1)) == first
        classifier = Classifier.load(other, device="cpu", precision="fp32")
        embed = Tagger(classifier).embed
        update_index(copy, classifier.checkpoint, FILES, embed, rebuild=True)
        assert similar(client, raw(photo(), count=1)) == first  # the old one still answers
        reloaded = client.post("/admin/reload", headers=HEADERS, params=params)
        assert reloaded.status_code == 200, reloaded.text
        second = similar(client, raw(photo(), count=1))
        assert second["model"]["version"] == "2"
        assert second["results"][0]["matches"][0]["similarity"] == 1


def test_reload_with_other_labels_keeps_index(
    index: Path, tmp_path: Path, tiny_checkpoint: Path
) -> None:
    relabelled = write_tiny(tmp_path / "new", version="1.2.4")
    with reloadable(tiny_checkpoint, index=index) as client:
        params = {"checkpoint": str(relabelled)}
        assert client.post("/admin/reload", headers=HEADERS, params=params).status_code == 200
        body = similar(client, json_body(photo(), include_categories=["Room"]))
        assert body["model"]["version"] == "1.2.4"
