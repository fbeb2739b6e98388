"""/labels: labels are added, served, kept over a restart and removed."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.new_labels import coloured, write_known
from tests.support.reloading import HEADERS, PATIENCE_S, reloadable, scores
from tests.support.requests import base64_text, metric, multipart, photo, truncated

REDS = [coloured((220, 20, 20), seed) for seed in range(4)]
CYAN = coloured((10, 240, 240))


@pytest.fixture(scope="module")
def known(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with known photos."""
    return write_known(tiny_checkpoint, tmp_path_factory.mktemp("known") / "checkpoint")


@pytest.fixture(scope="module")
def unchanged(known: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A server to which no label is added."""
    with reloadable(
        known, request_timeout_s=PATIENCE_S, labels_dir=tmp_path_factory.mktemp("labels")
    ) as client:
        yield client


@pytest.fixture
def client(known: Path, tmp_path: Path) -> Iterator[httpx.Client]:
    with reloadable(known, request_timeout_s=PATIENCE_S, labels_dir=tmp_path / "labels") as client:
        yield client


def added(client: httpx.Client, *photos: bytes, **options: Any) -> dict[str, Any]:
    """Add a label and return the answer."""
    body = multipart(*photos, **options) if photos else {"json": options}
    answer = client.post("/labels", headers=HEADERS, **body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def refused(client: httpx.Client, arguments: dict[str, Any]) -> tuple[int, str, str]:
    """Return status, code and detail of a refused label; nothing may have changed."""
    before = client.get("/labels").json()
    answer = client.post("/labels", headers=HEADERS, **arguments)
    assert client.get("/labels").json() == before
    problem = answer.json()
    return answer.status_code, problem["code"], problem["detail"]


def confidence(client: httpx.Client, photo: bytes, label: str) -> float:
    """Return the confidence of a label on a photo."""
    answer = client.post("/predict", **multipart(photo, all_scores=True, include_labels=label))
    assert answer.status_code == 200, answer.text
    (found,) = answer.json()["results"][0]["labels"]
    return float(found["confidence"])


def test_added_label_is_listed_and_served(client: httpx.Client) -> None:
    answer = added(client, *REDS, name="Red wall", category="Colours", author="Ada")
    assert (answer["model"]["labels_version"], answer["compared_with"]) == (
        "1.0.0+1",
        "known_photos",
    )
    label = answer["label"]
    assert (label["id"], label["category"], label["evidence"]) == ("red_wall", "Colours", "human")
    assert label["thresholds"]["serve"] == 0.5
    assert (label["added"]["by"], label["added"]["examples"]) == ("Ada", 4)
    listed = client.get("/labels").json()
    assert (listed["version"], listed["labels"][-1]) == ("1.0.0+1", label)
    assert "added" not in listed["labels"][0]
    unseen = coloured((220, 20, 20), seed=9)
    assert confidence(client, unseen, "red_wall") > 0.5 > confidence(client, CYAN, "red_wall")


def test_label_survives_restart_until_it_is_removed(known: Path, tmp_path: Path) -> None:
    with reloadable(known, request_timeout_s=PATIENCE_S, labels_dir=tmp_path) as client:
        added(client, *REDS, name="Red wall")
        served = confidence(client, CYAN, "red_wall")
    with reloadable(known, request_timeout_s=PATIENCE_S, labels_dir=tmp_path) as client:
        assert confidence(client, CYAN, "red_wall") == pytest.approx(served, abs=1e-6)
        answer = client.delete("/labels/red_wall", headers=HEADERS, params={"author": "Bob"})
        assert (answer.status_code, answer.json()["removed"]) == (200, "red_wall")
        assert answer.json()["model"]["labels_version"] == "1.0.0+2"
    with reloadable(known, request_timeout_s=PATIENCE_S, labels_dir=tmp_path) as client:
        ids = [label["id"] for label in client.get("/labels").json()["labels"]]
        assert "red_wall" not in ids
        assert client.get("/labels").json()["version"] == "1.0.0+2"


def test_concurrent_additions_are_serialised(client: httpx.Client) -> None:
    names = ["Red wall", "Blue wall", "Green wall"]
    with ThreadPoolExecutor(len(names)) as threads:
        answers = list(threads.map(lambda name: added(client, name=name, serve=0.5), names))
    versions = {answer["model"]["labels_version"] for answer in answers}
    assert versions == {"1.0.0+1", "1.0.0+2", "1.0.0+3"}
    listed = [label["name"] for label in client.get("/labels").json()["labels"]]
    assert sorted(listed[-3:]) == sorted(names)


def test_cached_photo_has_scores_of_new_label(known: Path, tmp_path: Path) -> None:
    with reloadable(
        known, request_timeout_s=PATIENCE_S, labels_dir=tmp_path, embedding_cache_bytes=2**20
    ) as client:
        before = scores(client)[1]
        added(client, *REDS, name="Red wall")
        after = client.post("/predict", **multipart(photo(), all_scores=True)).json()
        found = {each["id"]: each["confidence"] for each in after["results"][0]["labels"]}
        assert len(found) == len(before) + 1
        assert metric(client, 'mumic_embedding_cache_lookups_total{result="hit"}') == 1
        del found["red_wall"]
        assert [found[id] for id in sorted(found)] == pytest.approx(before, abs=2e-6)


def test_folder_that_cannot_be_written_is_named(known: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with reloadable(known, request_timeout_s=PATIENCE_S, labels_dir=tmp_path / "file") as client:
        status, code, detail = refused(client, {"json": {"name": "Red wall"}})
    assert (status, code) == (500, "not_written")
    assert "MUMIC_LABELS_DIR" in detail


def test_wrong_token_is_refused(unchanged: httpx.Client) -> None:
    for headers in ({}, {"authorization": "Bearer another token of length"}):
        answer = unchanged.post("/labels", headers=headers, json={"name": "Red wall"})
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
        assert unchanged.delete("/labels/sauna", headers=headers).status_code == 401


@pytest.mark.parametrize(
    ("options", "expected", "detail"),
    [
        ({"name": "Sauna"}, (409, "label_exists"), "a label 'sauna' exists"),
        ({"name": "SAUNA", "id": "steam"}, (409, "label_exists"), "the label 'sauna' has the same"),
        ({"name": "word " * 35, "id": "long"}, (422, "invalid_text"), "tokens"),
        ({"name": "日本"}, (422, "invalid_option"), "none can be derived from the name"),
        ({"name": " "}, (422, "invalid_option"), "name"),
        ({"name": "Red", "parents": ["suana"]}, (422, "invalid_option"), "sauna"),
        ({"name": "Red", "prompt": "description"}, (422, "invalid_option"), "description"),
        ({"name": "Red", "serve": 2}, (422, "invalid_option"), "serve"),
        ({"name": "Red", "counter_examples": ["7"]}, (422, "invalid_option"), "counter_examples"),
        ({"name": "Red", "nmae": "x"}, (422, "invalid_option"), "did you mean name"),
    ],
)
def test_invalid_label_is_refused(
    unchanged: httpx.Client, options: dict[str, Any], expected: tuple[int, str], detail: str
) -> None:
    status, code, found = refused(unchanged, {"json": options})
    assert (status, code) == expected
    assert detail in found


def test_unusable_examples_are_named(unchanged: httpx.Client) -> None:
    arguments = multipart(REDS[0], truncated(), b"text", name="Red wall")
    answer = unchanged.post("/labels", headers=HEADERS, **arguments)
    assert (answer.status_code, answer.json()["code"]) == (422, "unusable_images")
    assert [each["id"] for each in answer.json()["results"]] == ["1.jpg", "2.jpg"]


def test_same_photo_twice_is_refused(unchanged: httpx.Client) -> None:
    status, code, detail = refused(unchanged, multipart(REDS[0], REDS[1], REDS[0], name="Red wall"))
    assert (status, code) == (422, "invalid_option")
    assert "'0.jpg' and '2.jpg' are the same photo; send it once" in detail
    again = multipart(REDS[0], REDS[0], name="Red wall", counter_examples="1.jpg")
    assert "the other as a counter-example" in refused(unchanged, again)[2]


def test_contradicting_examples_are_named_and_may_be_accepted(client: httpx.Client) -> None:
    arguments = multipart(*REDS, CYAN, name="Red wall")
    answer = client.post("/labels", headers=HEADERS, **arguments)
    assert (answer.status_code, answer.json()["code"]) == (422, "contradicting_examples")
    (failed,) = answer.json()["results"]
    assert (failed["id"], failed["error"]["code"]) == ("4.jpg", "contradicting")
    assert "accept_contradictions" in failed["error"]["message"]
    added(client, *REDS, CYAN, name="Red wall", accept_contradictions=True)


def test_contradicting_counter_example_is_named(unchanged: httpx.Client) -> None:
    another = coloured((221, 20, 20), seed=0)  # hardly differs from the first example
    photos = [*REDS, another, CYAN]
    arguments = multipart(*photos, name="Red wall", counter_examples=["4.jpg", "5.jpg"])
    answer = unchanged.post("/labels", headers=HEADERS, **arguments)
    assert answer.json()["code"] == "contradicting_examples"
    assert [each["id"] for each in answer.json()["results"]] == ["4.jpg"]


def test_too_many_examples_are_refused(known: Path, tmp_path: Path) -> None:
    images = [{"data": base64_text(coloured((220, 20, 20), seed))} for seed in range(51)]
    with reloadable(known, request_timeout_s=PATIENCE_S, labels_dir=tmp_path) as client:
        detail = refused(client, {"json": {"name": "Red", "images": images}})[2]
    assert detail == "images: 51 photos were sent; at most 50 are used"


def test_label_without_background_needs_a_threshold(tiny_checkpoint: Path, tmp_path: Path) -> None:
    with reloadable(tiny_checkpoint, request_timeout_s=PATIENCE_S, labels_dir=tmp_path) as client:
        answer = added(client, name="Red wall")
        assert answer["label"]["thresholds"]["serve"] is None
        assert "known photos" in answer["note"]
        manual = added(client, name="Blue wall", serve=0.7)["label"]["thresholds"]
        assert (manual["serve"], manual["kind"]) == (0.7, "manual")
        detail = refused(client, multipart(*REDS, name="Green wall"))[2]
        assert "mumic labels known-photos" in detail


def test_form_without_images_adds_label(client: httpx.Client) -> None:
    form = {"name": (None, "Red wall"), "parents": (None, "sauna,gym")}
    answer = client.post("/labels", headers=HEADERS, files=form)
    assert (answer.status_code, answer.json()["label"]["parents"]) == (201, ["sauna", "gym"])
    assert answer.json()["label"]["thresholds"]["kind"] == "fallback"


def test_built_in_and_unknown_label_are_not_removed(unchanged: httpx.Client) -> None:
    answer = unchanged.delete("/labels/sauna", headers=HEADERS)
    assert (answer.status_code, answer.json()["code"]) == (409, "built_in_label")
    answer = unchanged.delete("/labels/suana", headers=HEADERS)
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_label")
    assert "sauna" in answer.json()["detail"]


def test_parent_of_another_label_is_not_removed(client: httpx.Client) -> None:
    added(client, name="Wall", serve=0.5)
    added(client, name="Red wall", parents=["wall"])
    answer = client.delete("/labels/wall", headers=HEADERS)
    assert (answer.status_code, answer.json()["field"]) == (422, "id")


def test_exported_label_is_added_to_server_with_same_weights(
    client: httpx.Client, known: Path, tmp_path: Path
) -> None:
    added(client, *REDS, name="Red wall")
    document = client.get("/labels/red_wall").json()
    with reloadable(known, request_timeout_s=PATIENCE_S, labels_dir=tmp_path / "other") as other:
        answer = other.post("/labels", headers=HEADERS, json=document)
        assert answer.status_code == 201, answer.text
        assert confidence(other, CYAN, "red_wall") == pytest.approx(
            confidence(client, CYAN, "red_wall"), abs=1e-6
        )
        document["fitted"]["towers"] = "0" * 64
        document |= {"id": "red", "name": "red"}
        assert "other weights" in refused(other, {"json": document})[2]


def test_labels_are_read_only_without_token(known: Path, tmp_path: Path) -> None:
    with reloadable(
        known, request_timeout_s=PATIENCE_S, labels_dir=tmp_path, admin_token=None
    ) as client:
        answer = client.post("/labels", json={"name": "Red wall"})
        assert (answer.status_code, answer.json()["code"]) == (403, "labels_read_only")
        assert "MUMIC_ADMIN_TOKEN" in answer.json()["detail"]
