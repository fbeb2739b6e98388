"""Hostile bodies get a clear error at little cost, and the next request is answered."""

import json
from typing import Any

import httpx
import pytest
from pydantic_core import from_json

from app.serving.request.body import MAX_JSON_VALUES
from app.serving.request.multipart import (
    MAX_BOUNDARIES,
    MAX_FIELD_BYTES,
    MAX_HEADER_BYTES,
    MAX_NAME_CHARS,
    MAX_PARAMETERS,
)
from app.serving.schemas.requests import MAX_NAMES
from tests.support.requests import base64_text, json_body, multipart, photo, raw

SMALL = photo(side_px=32)
DATA = base64_text(SMALL)
IMAGES = f'"images": [{{"data": "{DATA}"}}]'
END = b"\r\n--xyz--\r\n"


def form_of(*parts: bytes, end: bytes = END) -> bytes:
    return b"".join(b"\r\n--xyz\r\n" + part for part in parts)[2:] + end


def file_part(name: bytes = b'"a.jpg"', *headers: bytes, data: bytes = SMALL) -> bytes:
    disposition = b'content-disposition: form-data; name="images"; filename=' + name
    return b"\r\n".join([disposition, *headers, b"", data])


def field(name: bytes, value: bytes) -> bytes:
    return b'content-disposition: form-data; name="' + name + b'"\r\n\r\n' + value


def post_json(client: httpx.Client, text: str | bytes, path: str = "/predict") -> httpx.Response:
    return client.post(path, content=text, headers={"content-type": "application/json"})


def post_form(
    client: httpx.Client, body: bytes, content_type: str = "multipart/form-data; boundary=xyz"
) -> httpx.Response:
    return client.post("/predict", content=body, headers={"content-type": content_type})


def status_and_code(answer: httpx.Response) -> tuple[int, str]:
    """Return status and code, and check that the response is short."""
    problem = answer.json()
    assert len(answer.content) < 2000
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, problem["code"]


def assert_still_answers(client: httpx.Client) -> None:
    assert client.post("/predict", **raw(SMALL)).status_code == 200


NOT_JSON: dict[str, str | bytes] = {
    "two byte order marks": "\ufeff\ufeff{" + IMAGES + "}",
    "UTF-16": ("{" + IMAGES + "}").encode("utf-16"),
    "UTF-32": ("{" + IMAGES + "}").encode("utf-32-le"),
    "Latin-1": ("{" + IMAGES + ', "include_labels": ["é"]}').encode("latin-1"),
    "overlong UTF-8": b'{"images": "\xc0\xaf"}',
    "lone surrogate": '{"images": "\\udfff"}',
    "lone surrogate in a name": '{"\\ud800": 1}',
    "NaN": "{" + IMAGES + ', "min_confidence": NaN}',
    "infinity": "{" + IMAGES + ', "min_confidence": -Infinity}',
    "a number of 5,000 digits": "{" + IMAGES + ', "max_labels": ' + "9" * 5000 + "}",
    "invalid number": "{" + IMAGES + ', "max_labels": 01}',
    "a comment": "{" + IMAGES + "} // mine",
    "two objects": "{" + IMAGES + "}{}",
    "trailing comma": "{" + IMAGES + ",}",
    "objects 100,000 deep": '{"a":' * 100_000,
    "lists 1,000 deep": '{"images": ' + "[" * 1000 + "]" * 1000 + "}",
    "a line break in a text": '{"images": "\n"}',
    "NUL after it": "{" + IMAGES + "}\x00",
    "a million empty lists": '{"images": [' + "[]," * 1_000_000 + "[]]}",
    "a million empty objects": '{"images": [' + "{}," * 1_000_000 + "{}]}",
    "a million names": "{" + ",".join(f'"{n}":0' for n in range(MAX_JSON_VALUES + 2)) + "}",
}


@pytest.mark.parametrize("name", NOT_JSON)
def test_invalid_or_excessive_json_is_refused(client: httpx.Client, name: str) -> None:
    assert status_and_code(post_json(client, NOT_JSON[name])) == (400, "malformed_body")
    assert_still_answers(client)


WRONG_TYPES: list[tuple[str, str]] = [
    ('"max_labels": "5"', "max_labels"),
    ('"max_labels": true', "max_labels"),
    ('"max_labels": 1e400', "max_labels"),
    ('"max_labels": 1.5', "max_labels"),
    ('"max_labels": -' + "9" * 4000, "max_labels"),
    ('"max_labels": [1]', "max_labels"),
    ('"min_confidence": 1e400', "min_confidence"),
    ('"min_confidence": "0.5"', "min_confidence"),
    ('"min_confidence": false', "min_confidence"),
    ('"all_scores": 1', "all_scores"),
    ('"all_scores": "yes"', "all_scores"),
    ('"include_labels": "beach"', "include_labels"),
    ('"include_labels": {"beach": 1}', "include_labels"),
    ('"include_labels": [null]', "include_labels.0"),
    ('"include_labels": [["beach"]]', "include_labels.0"),
    ('"include_labels": [' + '"beach",' * 1000 + '"beach"]', "include_labels"),
    ('"images": null', "images"),
    ('"images": {}', "images"),
    ('"images": [' + "{}," * 30_000 + "{}]", "images"),
    ('"images": [{' + ",".join(f'"{n}":1' for n in range(MAX_NAMES + 1)) + "}]", "images.0"),
    (",".join(f'"{n}":1' for n in range(MAX_NAMES)), "options"),
    ('"images": [[]]', "images.0"),
    ('"images": [{"data": 1}]', "images.0.data"),
    ('"images": [{"data": ["a"]}]', "images.0.data"),
    ('"images": [{"data": "a", "id": 1}]', "images.0.id"),
    ('"images": [{"data": "a", "id": ""}]', "images.0.id"),
    ('"images": [{"data": "a", "id": "' + "i" * 257 + '"}]', "images.0.id"),
    ('"images": [{"data": "a", "url": "b"}]', "images.0"),
    ('"\\u0000": 1', "\x00"),
    ('"__proto__": {}', "__proto__"),
]


@pytest.mark.parametrize(("option", "where"), WRONG_TYPES, ids=lambda text: text[:30])
def test_json_of_wrong_type_is_refused_with_location(
    client: httpx.Client, option: str, where: str
) -> None:
    text = option if '"images":' in option else f"{IMAGES}, {option}"
    answer = post_json(client, "{" + text + "}")
    assert status_and_code(answer) == (422, "invalid_option")
    assert answer.json()["field"] == where
    assert_still_answers(client)


@pytest.mark.parametrize("path", ["/predict", "/embed", "/zero-shot", "/validate", "/gallery"])
@pytest.mark.parametrize("image", ["{}", '{"data": ""}'])
def test_too_many_images_are_refused_before_validation(
    client: httpx.Client, path: str, image: str
) -> None:
    answer = post_json(client, '{"images": [' + ",".join([image] * 40_000) + "]}", path)
    assert status_and_code(answer) == (422, "invalid_option")
    assert answer.json()["detail"].startswith("images: 40000 images were sent; at most ")


def test_duplicate_json_key_uses_last_value(client: httpx.Client) -> None:
    text = (
        f'{{{IMAGES}, "all_scores": true, "all_scores": false, "max_labels": 0, "max_labels": 1}}'
    )
    answer = post_json(client, text)
    assert answer.status_code == 200
    assert len(answer.json()["results"][0]["labels"]) <= 1


def test_huge_max_labels_returns_all(client: httpx.Client) -> None:
    text = f'{{{IMAGES}, "min_confidence": 0, "max_labels": {"9" * 4000}}}'
    assert len(post_json(client, text).json()["results"][0]["labels"]) == 120


def test_json_with_maximum_values_is_accepted(client: httpx.Client) -> None:
    nulls = "null," * (MAX_JSON_VALUES - 5)
    answer = post_json(client, f'{{{IMAGES}, "include_labels": [{nulls}null]}}')
    assert status_and_code(answer) == (422, "invalid_option")
    assert from_json(answer.content)["field"] == "include_labels.0"


NOT_A_FORM = {
    "2,001 files": form_of(*[file_part()] * 2001),
    "2,001 fields": form_of(*[field(b"x", b"1")] * 2001),
    "a field of 65 kB": form_of(file_part(), field(b"max_labels", b"1" * 65_537)),
    "a header of 1 MB": form_of(file_part(b'"a"', b"x-long: " + b"y" * 2**20)),
    "1,000 headers": form_of(file_part(b'"a"', *[b"x: y"] * 1000)),
    "file name of 1 MB": form_of(file_part(b'"' + b"a" * 2**20 + b'"')),
    "endless header": form_of(file_part())[:20],
    "a header without colon": form_of(b"content-disposition\r\n\r\nx"),
    "no name": form_of(b'content-disposition: form-data; filename="a.jpg"\r\n\r\nx'),
    "no disposition": form_of(b"content-type: image/jpeg\r\n\r\nx"),
    "wrong closing boundary": form_of(file_part(), end=b"\r\n--abc--\r\n"),
    "only an opening boundary": b"--xyz",
    "only line ends": b"\r\n" * 500_000,
    "too many boundaries": form_of(file_part(data=b"\r\n--xyzz" * (MAX_BOUNDARIES + 1))),
    "boundaries in the preamble": b"--xyzz\r\n" * (MAX_BOUNDARIES + 1) + form_of(file_part()),
    "a preamble alone": b"x" * 2**22,
    "a folded header of 1 MB": form_of(file_part(b'"a"', b"x: y" + b"\r\n " * 2**18)),
    "folded headers alone": b"--xyz\r\n" + b" \r\n" * 2**18 + END,
    "a base64 field of 87 kB": form_of(
        b"content-transfer-encoding: base64\r\n" + field(b"max_labels", b"MTEx" * 22_000)
    ),
}
UNSUPPORTED_TYPES = {
    "no boundary": "multipart/form-data",
    "an empty boundary": "multipart/form-data; boundary=",
    "a boundary of 10 kB": "multipart/form-data; boundary=" + "x" * 10_000,
    "unterminated quoted boundary": 'multipart/form-data; boundary="xyz',
}
HOSTILE_CHARSETS = ["undefined", "unicode_escape", "utf-7", "zlib", "utf-16", "os", "x" * 10_000]


@pytest.mark.parametrize("name", NOT_A_FORM)
def test_invalid_or_excessive_form_is_refused(client: httpx.Client, name: str) -> None:
    assert status_and_code(post_form(client, NOT_A_FORM[name])) == (400, "malformed_body")
    assert_still_answers(client)


@pytest.mark.parametrize("name", UNSUPPORTED_TYPES)
def test_unsupported_form_type_is_refused(client: httpx.Client, name: str) -> None:
    answer = post_form(client, form_of(file_part()), UNSUPPORTED_TYPES[name])
    assert status_and_code(answer) == (400, "malformed_body")
    assert_still_answers(client)


@pytest.mark.parametrize("charset", HOSTILE_CHARSETS, ids=lambda name: name[:20])
def test_hostile_charset_decodes_nothing(client: httpx.Client, charset: str) -> None:
    content_type = f"multipart/form-data; boundary=xyz; charset={charset}"
    name = "caf\\ud800é.jpg"
    body = form_of(file_part(b'"caf\\ud800\xc3\xa9.jpg"'))
    answer = post_form(client, body, content_type)
    assert answer.json()["results"][0]["id"] == name
    part = b"content-type: text/plain; charset=" + charset.encode() + b"\r\n"
    answer = post_form(client, form_of(file_part(), part + field(b"max_labels", b"1")))
    assert answer.status_code in (400, 422)
    assert status_and_code(answer)[1] in ("malformed_body", "invalid_option")
    extended = b"x; filename*=" + charset.encode() + b"''%5Cud800%FF.jpg"
    answer = post_form(client, form_of(file_part(extended)))
    assert answer.json()["results"][0]["id"] == "\\ud800\ufffd.jpg"


def test_nested_form_is_refused(client: httpx.Client) -> None:
    inner = form_of(file_part()).replace(b"--xyz", b"--abc")
    part = file_part(b'"a"', b"content-type: multipart/mixed; boundary=abc", data=inner)
    answer = post_form(client, form_of(part))
    assert status_and_code(answer) == (422, "invalid_option")
    assert "multipart/mixed; send each file as a part" in answer.json()["detail"]


def test_parameters_of_header_are_bounded(client: httpx.Client) -> None:
    many = b'; a="b\\"' + b"; a=b" * (MAX_PARAMETERS - 2)
    content_type = "multipart/form-data; boundary=xyz" + "; a=b" * (MAX_PARAMETERS - 1)
    name = b";" * 200
    body = form_of(file_part(b'"' + name + b'"; x="' + many[:-4] + b'"'))
    assert post_form(client, body, content_type).json()["results"][0]["id"] == name.decode()
    part = file_part(b'"a"' + b"; a=b" * MAX_PARAMETERS)
    for answer in (
        post_form(client, form_of(part)),
        post_form(client, form_of(file_part()), content_type + "; a=b"),
    ):
        assert status_and_code(answer) == (400, "malformed_body")


def test_large_preamble_and_padding_are_ignored(client: httpx.Client) -> None:
    body = (
        b"\n--xy" * 500_000
        + b"\r\n"
        + form_of(file_part()).replace(b"--xyz\r\n", b"--xyz" + b" \t" * 128 + b"\r\n")
    )
    assert post_form(client, body).status_code == 200


@pytest.mark.parametrize("index", ["99999999999", "9" * 5000, "0"])
def test_index_of_image_allocates_nothing(client: httpx.Client, index: str) -> None:
    part = file_part().replace(b"images", b"images[" + index.encode() + b"]")
    assert post_form(client, form_of(part, part)).status_code == 200


def test_2000_list_items_with_any_index_are_one_list(client: httpx.Client) -> None:
    items = [field(b"include_labels[%d]" % (n * 10**9), b"beach") for n in range(900)]
    assert post_form(client, form_of(file_part(), *items)).status_code == 200
    nested = field(b"include_labels" + b"[0]" * 1000, b"beach")
    answer = post_form(client, form_of(file_part(), nested))
    assert status_and_code(answer) == (422, "invalid_option")
    many = field(b"include_labels", b"," * MAX_FIELD_BYTES)
    assert post_form(client, form_of(file_part(), many)).status_code == 200


def test_continued_file_name_with_huge_number_is_ignored(client: httpx.Client) -> None:
    part = file_part(b'"a.jpg"; filename*' + b"9" * (MAX_HEADER_BYTES // 2) + b"=x")
    assert post_form(client, form_of(part)).json()["results"][0]["id"] == "a.jpg"


def test_partial_boundaries_belong_to_photo(client: httpx.Client) -> None:
    padded = SMALL + b"\r\n--xy" * 100_000 + b"\r\n-" * 100_000 + b"\r\n"
    assert post_form(client, form_of(file_part(data=padded))).status_code == 200


def test_false_transfer_encoding_of_part_is_reported(client: httpx.Client) -> None:
    part = file_part(b'"a"', b"content-transfer-encoding: base64", b"content-length: 7")
    answer = post_form(client, form_of(part))
    assert status_and_code(answer) == (422, "unusable_images")
    assert answer.json()["results"][0]["error"]["code"] == "invalid_base64"


def test_compressed_body_is_not_decompressed(client: httpx.Client) -> None:
    request = raw(SMALL)
    request["headers"]["content-encoding"] = "gzip"
    answer = client.post("/predict", **request)
    assert status_and_code(answer) == (415, "unsupported_media_type")


@pytest.mark.parametrize("request_of", [multipart, raw])
@pytest.mark.parametrize(
    "value", ["1e400", "9" * 5000, "-0.1", "0x1", " ", "nan", "\u0661", "1\x00"]
)
def test_number_in_text_is_parsed_or_refused(
    client: httpx.Client, request_of: Any, value: str
) -> None:
    answer = client.post("/predict", **request_of(SMALL, min_confidence=value))
    assert status_and_code(answer) == (422, "invalid_option")
    assert answer.json()["field"] == "min_confidence"


def test_longest_allowed_name_is_echoed(client: httpx.Client) -> None:
    name = "n" * MAX_NAME_CHARS
    whole = [("images", (name, SMALL, "image/jpeg"))]
    assert client.post("/predict", files=whole).json()["results"][0]["id"] == name
    longer = [("images", (name + "n", SMALL, "image/jpeg"))]
    answer = client.post("/predict", files=longer)
    assert status_and_code(answer) == (422, "invalid_option")
    assert "at most 256" in answer.json()["detail"]


def test_1000_unknown_names_give_one_error(client: httpx.Client) -> None:
    names = [f"nowhere {n}" for n in range(1000)]
    answer = client.post("/predict", **json_body(SMALL, include_labels=names))
    assert status_and_code(answer) == (422, "invalid_option")
    text = json.dumps({"images": [{"data": DATA}], **dict.fromkeys(names)})
    assert status_and_code(post_json(client, text)) == (422, "invalid_option")
