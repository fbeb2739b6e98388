"""POST /validate: verdicts on declared facilities, in every body format."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.core.classifier import Classifier
from app.core.labels import LabelSet, builtin_label_set
from app.main import create_app
from app.settings import Settings
from tests.support.requests import (
    BODY_BUILDERS,
    BodyBuilder,
    json_body,
    multipart,
    photo,
    raw,
    truncated,
)
from tests.support.tiny import live_server, write_calibrated, write_tiny

DECLARED = ["swimming_pool", "Gym", "a spiral staircase"]
WITHIN = 1e-4  # float32 sums in batches of another size


def validate(client: httpx.Client, arguments: dict[str, Any]) -> dict[str, Any]:
    answer = client.post("/validate", **arguments)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def refused(client: httpx.Client, code: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the problem of a request that gets 422."""
    answer = client.post("/validate", **arguments)
    assert answer.status_code == 422, answer.text
    problem: dict[str, Any] = answer.json()
    assert (problem["code"], len(problem["detail"]) < 400) == (code, True)
    return problem


def confidences(client: httpx.Client, *photos: bytes) -> list[dict[str, float]]:
    """Return the probability of every label, by photo, as POST /predict computes it."""
    results = client.post("/predict", **json_body(*photos, all_scores=True)).json()["results"]
    return [{each["id"]: each["confidence"] for each in result["labels"]} for result in results]


@pytest.mark.parametrize("build_body", BODY_BUILDERS)
def test_every_body_format_gets_documented_response(
    client: httpx.Client, build_body: BodyBuilder
) -> None:
    answer = validate(client, build_body(photo(), declared=DECLARED))
    assert list(answer) == ["model", "declared", "undeclared", "results"]
    assert answer["model"]["name"] == "tiny"
    pool, gym, stairs = answer["declared"]
    assert [each["text"] for each in (pool, gym, stairs)] == DECLARED
    assert (pool["kind"], pool["label"]["name"]) == ("label", "Swimming pool")
    assert (gym["kind"], gym["label"]["id"]) == ("label", "gym")
    assert (stairs["kind"], "label" in stairs) == ("text", False)
    assert pool["rule"] == {"kind": "not_stated", "threshold": 0.5}
    assert stairs["rule"] == {"kind": "zero_shot", "threshold": 0.5, "scoring": "sigmoid"}
    (id,) = {each["best_photo"]["id"] for each in (pool, gym, stairs)}
    assert answer["results"] == [{"id": id, "status": "ok", "width": 320, "height": 213}]
    for each in answer["undeclared"]:
        assert list(each) == ["label", "rule", "evidence"]
        assert each["evidence"][0]["label"] == each["label"]["id"]


def test_labels_are_judged_as_predict_serves_them(client: httpx.Client) -> None:
    photos = [photo(name) for name in ("chelsea", "china", "coffee")]
    label_set = builtin_label_set()
    childless = [
        each.id
        for each in label_set.labels
        if not any(each.id in other.parents for other in label_set.labels)
    ]
    answer = validate(client, json_body(*photos, declared=childless))
    expected = confidences(client, *photos)
    statuses = set()
    for facility in answer["declared"]:
        id = facility["label"]["id"]
        shown = {str(i): each[id] for i, each in enumerate(expected) if each[id] >= 0.5}
        found = {each["id"]: each["confidence"] for each in facility["evidence"]}
        assert found == pytest.approx(shown, abs=WITHIN)
        assert list(found.values()) == sorted(found.values(), reverse=True)
        assert facility["status"] == ("confirmed" if shown else "not_seen")
        best = max(each[id] for each in expected)
        assert facility["best_photo"]["confidence"] == pytest.approx(best, abs=WITHIN)
        statuses.add(facility["status"])
    assert statuses == {"confirmed", "not_seen"}


def test_undeclared_labels_are_those_that_predict_serves(client: httpx.Client) -> None:
    photos = [photo("chelsea"), photo("china")]
    (declared, *_) = (each.id for each in builtin_label_set().labels if each.parents)
    options = {"include_categories": ["Room", "Bathroom"], "exclude_labels": ["lamp"]}
    answer = validate(client, json_body(*photos, declared=[declared], **options))
    served = client.post("/predict", **json_body(*photos, **options)).json()["results"]
    expected = {label["id"] for result in served for label in result["labels"]}
    covered = {declared, *builtin_label_set().ancestors(declared)}
    assert {each["label"]["id"] for each in answer["undeclared"]} == expected - covered
    assert expected - covered
    best = [each["evidence"][0]["confidence"] for each in answer["undeclared"]]
    assert best == sorted(best, reverse=True)


def test_texts_are_scored_as_zero_shot_scores_them(client: httpx.Client) -> None:
    texts = ["a spiral staircase", "a red door", "a cat on a sofa"]
    photos = [photo("chelsea"), photo("coffee")]
    answer = validate(client, json_body(*photos, declared=["gym", *texts]))
    scored = client.post("/zero-shot", **json_body(*photos, labels=texts)).json()["results"]
    expected = [
        {score["label"]: score["confidence"] for score in result["scores"]} for result in scored
    ]
    for facility in answer["declared"][1:]:
        by_photo = [each[facility["text"]] for each in expected]
        assert facility["best_photo"]["confidence"] == pytest.approx(max(by_photo), abs=WITHIN)
        assert (facility["status"] == "confirmed") == (max(by_photo) >= 0.5)
        assert "label" not in str(facility["evidence"])


def test_min_confidence_is_the_rule_of_everything(client: httpx.Client) -> None:
    answer = validate(client, multipart(photo(), declared=DECLARED, min_confidence="0.25"))
    for facility in answer["declared"]:
        assert (facility["rule"]["kind"], facility["rule"]["threshold"]) == ("min_confidence", 0.25)
        shown = facility["best_photo"]["confidence"] >= 0.25
        assert facility["status"] == ("confirmed" if shown else "not_seen")


def test_unusable_photo_fails_alone_in_its_position(client: httpx.Client) -> None:
    body = multipart(photo("chelsea"), truncated(), photo("china"), declared=DECLARED)
    answer = validate(client, body)
    assert [each["status"] for each in answer["results"]] == ["ok", "error", "ok"]
    assert answer["results"][1]["error"]["code"] == "corrupt"
    alone = validate(client, json_body(photo("chelsea"), photo("china"), declared=DECLARED))
    names = {"0": "0.jpg", "1": "2.jpg"}
    for with_bad, without in zip(answer["declared"], alone["declared"], strict=True):
        assert with_bad["status"] == without["status"]
        assert with_bad["best_photo"]["id"] == names[without["best_photo"]["id"]]


def test_only_unusable_photos_are_the_usual_problem(client: httpx.Client) -> None:
    problem = refused(client, "unusable_images", multipart(truncated(), declared=["gym"]))
    assert [each["id"] for each in problem["results"]] == ["0.jpg"]


@pytest.mark.parametrize(
    ("options", "field", "words"),
    [
        ({}, "declared", "missing"),
        ({"declared": []}, "declared", "at least 1"),
        ({"declared": ["gym", " "]}, "declared.1", "at least 1 character"),
        ({"declared": ["p" * 1001]}, "declared.0", "at most 1000"),
        ({"declared": ["swiming_pool"]}, "declared", "did you mean 'swimming_pool'"),
        ({"declared": ["gym", "Gym"]}, "declared", "'gym' and 'Gym' are the label gym"),
        ({"declared": ["a red door"] * 2}, "declared", "'a red door' is declared twice"),
        ({"declared": [f"room {i}" for i in range(1001)]}, "declared", "at most 1000"),
        ({"declared": ["gym"], "include_labels": ["beech"]}, "include_labels", "beach"),
        ({"declared": ["gym"], "exclude_categories": ["Rom"]}, "exclude_categories", "Room"),
        ({"declared": ["gym"], "min_confidence": 2}, "min_confidence", "equal to 1"),
        ({"declarde": ["gym"]}, "declarde", "did you mean declared"),
    ],
)
def test_wrong_option_is_refused_with_hint(
    client: httpx.Client, options: dict[str, Any], field: str, words: str
) -> None:
    problem = refused(client, "invalid_option", json_body(photo(), **options))
    assert problem["field"] == field
    assert words in problem["detail"]


@pytest.mark.parametrize(
    ("text", "words"),
    [("very " * 40 + "nice pool", "reads at most 30"), ("a door <end_of_text>", "<end_of_text>")],
)
def test_text_that_tokenizer_cannot_read_is_refused(
    client: httpx.Client, text: str, words: str
) -> None:
    problem = refused(client, "invalid_text", raw(photo(), declared=["gym", text]))
    assert words in problem["detail"]


@pytest.fixture(scope="module")
def measured(
    small_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """A server with calibrated texts, whose first label is unmeasured and second has a kind."""
    first, second, *others = builtin_label_set().labels
    unmeasured = first.thresholds.model_copy(update={"serve": None})
    stated = second.thresholds.model_copy(update={"serve": 0.9, "kind": "precision"})
    labels = LabelSet(
        version="1",
        labels=(
            first.model_copy(update={"thresholds": unmeasured, "evidence": "none"}),
            second.model_copy(update={"thresholds": stated, "parents": ()}),
            *(each.model_copy(update={"parents": ()}) for each in others),
        ),
    )
    folder = tmp_path_factory.mktemp("data")
    plain: Path = write_tiny(folder / "plain", labels)
    classifier = Classifier.load(
        write_calibrated(plain, folder / "calibrated"), device="cpu", precision="fp32"
    )
    with (
        live_server(create_app(small_settings, classifier)) as url,
        httpx.Client(base_url=url, timeout=30) as session,
    ):
        yield session


@pytest.mark.parametrize("options", [{}, {"min_confidence": 0.0}])
def test_unmeasured_label_is_not_judged(measured: httpx.Client, options: dict[str, Any]) -> None:
    first = measured.get("/labels").json()["labels"][0]
    answer = validate(measured, json_body(photo(), declared=[first["id"]], **options))
    (facility,) = answer["declared"]
    assert (facility["status"], facility["evidence"]) == ("not_judged", [])
    assert "rule" not in facility
    assert "evidence: none" in facility["reason"]
    other = validate(measured, json_body(photo(), declared=["gym"], **options))
    assert first["id"] not in {each["label"]["id"] for each in other["undeclared"]}


def test_rule_has_kind_of_threshold_and_scoring_of_text(measured: httpx.Client) -> None:
    second = measured.get("/labels").json()["labels"][1]
    body = json_body(photo(), declared=[second["id"], "a red door"])
    label, text = validate(measured, body)["declared"]
    assert label["rule"] == {"kind": "precision", "threshold": 0.9}
    assert text["rule"] == {"kind": "zero_shot", "threshold": 0.5, "scoring": "calibrated"}
