"""Texts and names in any alphabet are echoed unchanged; invalid Unicode is refused."""

from typing import Any

import httpx
import pytest

from tests.support.requests import (
    BODY_BUILDERS,
    BodyBuilder,
    base64_text,
    json_body,
    multipart,
    photo,
    raw,
)

SMALL = photo(side_px=32)
TEXTS = {
    "composed": "caf\u00e9",
    "decomposed": "cafe\u0301",
    "right to left": "\u05d1\u05e8\u05d9\u05db\u05ea \u05e9\u05d7\u05d9\u05d9\u05d4",
    "direction override": "pool\u202eloop\u202c",
    "isolates": "\u2066pool\u2069",
    "zero width": "po\u200bol\u200d\ufeff",
    "combined emoji": "\U0001f469\u200d\U0001f467 \U0001f3ca\U0001f3fd\u200d\u2640\ufe0f",
    "full width": "\uff50\uff4f\uff4f\uff4c",
    "compatibility": "\ufb01replace \u2460",
    "astral plane": "\U0001d4ab\U0001d45c\U0001d45c\U0001d4c1 \U00013000",
    "stacked marks": "p" + "\u0301" * 10,
    "noncharacters": "\ufffe\uffff\U0010ffff",
    "private": "\ue000\U000f0000",
    "HTML": "<b>pool</b> &amp; &#0; &lt;",
    "control characters": "pool\x01\x1b[31m\x7f\x85x",
    "NUL": "pool\x00pool",
    "line ends": "pool\r\nx-injected: y",
    "braces": "{0} {} {label}",
    "quotes": "'\"\\`",
}


def labels_of(answer: httpx.Response) -> dict[str, float]:
    assert answer.status_code == 200, answer.text
    assert "x-injected" not in answer.headers
    scores = answer.json()["results"][0]["scores"]
    return {score["label"]: score["confidence"] for score in scores}


@pytest.mark.parametrize("build_body", BODY_BUILDERS)
@pytest.mark.parametrize("name", TEXTS)
def test_label_is_echoed_unchanged(
    client: httpx.Client, build_body: BodyBuilder, name: str
) -> None:
    text = TEXTS[name]
    answer = client.post("/zero-shot", **build_body(SMALL, labels=[text, "beach"], template="{}"))
    assert set(labels_of(answer)) == {text, "beach"}


def test_composed_and_decomposed_letters_score_equal(client: httpx.Client) -> None:
    scores = [
        labels_of(client.post("/zero-shot", **json_body(SMALL, labels=[text])))[text]
        for text in (TEXTS["composed"], TEXTS["decomposed"])
    ]
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)


@pytest.mark.parametrize("build_body", BODY_BUILDERS)
@pytest.mark.parametrize("text", ["\u00a0", "\u2003\u3000", "\t\r\n", "\u2028"])
def test_blank_label_is_refused(client: httpx.Client, build_body: BodyBuilder, text: str) -> None:
    answer = client.post("/zero-shot", **build_body(SMALL, labels=[text]))
    assert (answer.status_code, answer.json()["field"]) == (422, "labels.0")


@pytest.mark.parametrize("text", ["<start_of_text>", "a <END_OF_TEXT>", "&lt;start_of_text&gt;"])
def test_special_tokens_in_text_are_refused(client: httpx.Client, text: str) -> None:
    answer = client.post("/zero-shot", **json_body(SMALL, labels=[text]))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_text")


@pytest.mark.parametrize("build_body", BODY_BUILDERS)
@pytest.mark.parametrize("name", TEXTS)
def test_unknown_label_is_quoted_in_error(
    client: httpx.Client, build_body: BodyBuilder, name: str
) -> None:
    answer = client.post("/predict", **build_body(SMALL, include_labels=TEXTS[name]))
    if build_body is json_body:
        answer = client.post("/predict", **build_body(SMALL, include_labels=[TEXTS[name]]))
    assert (answer.status_code, answer.json()["field"]) == (422, "include_labels")
    assert answer.json()["detail"].isprintable()


@pytest.mark.parametrize("name", TEXTS)
def test_unknown_option_is_quoted_in_error(client: httpx.Client, name: str) -> None:
    for build_body in BODY_BUILDERS:
        request: dict[str, Any] = build_body(SMALL, **{TEXTS[name]: "1"})
        answer = client.post("/predict", **request)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_option")


NAMES = TEXTS | {"a path": "../../etc/passwd", "a folder": "."}


def posted(client: httpx.Client, file_name: bytes) -> httpx.Response:
    """Post a form with one file of that name."""
    part = b'--xyz\r\ncontent-disposition: form-data; name="images"; filename="' + file_name
    return client.post(
        "/predict",
        content=part + b'"\r\n\r\n' + SMALL + b"\r\n--xyz--\r\n",
        headers={"content-type": "multipart/form-data; boundary=xyz"},
    )


@pytest.mark.parametrize("name", NAMES)
def test_id_is_echoed_unchanged(client: httpx.Client, name: str) -> None:
    images = [{"id": NAMES[name], "data": base64_text(SMALL)}]
    answer = client.post("/predict", json={"images": images})
    assert answer.json()["results"][0]["id"] == NAMES[name]


@pytest.mark.parametrize("name", sorted(NAMES.keys() - {"line ends"}))
def test_file_name_is_echoed_unchanged(client: httpx.Client, name: str) -> None:
    written = NAMES[name].replace("\\", "\\\\").replace('"', '\\"')
    answer = posted(client, written.encode())
    assert answer.json()["results"][0]["id"] == NAMES[name]


def test_file_name_ends_at_line_end(client: httpx.Client) -> None:
    answer = posted(client, b"pool\r\nx-injected: y")
    assert answer.json()["results"][0]["id"] == '"pool'
    assert "x-injected" not in answer.headers
    assert posted(client, b"pool\rpool").status_code == 400


def test_file_name_not_in_utf8_is_read_as_latin1(client: httpx.Client) -> None:
    assert posted(client, b"caf\xe9.jpg").json()["results"][0]["id"] == "café.jpg"


def test_lone_surrogate_is_refused(client: httpx.Client) -> None:
    text = '{"images": [{"id": "\\ud83c", "data": ""}]}'
    answer = client.post("/predict", content=text, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_body")


def test_invalid_utf8_in_query_is_replaced(client: httpx.Client) -> None:
    request = raw(SMALL)
    del request["params"]
    answer = client.post("/zero-shot?labels=%ff%fe&labels=%ed%a0%80&labels=%00", **request)
    assert len(labels_of(answer)) == 3


def test_labels_equal_after_stripping_are_duplicates(client: httpx.Client) -> None:
    answer = client.post("/zero-shot", **multipart(SMALL, labels=["pool", "\u2003pool\u00a0"]))
    assert (answer.status_code, answer.json()["field"]) == (422, "labels")
