"""Every bad request gets its documented problem, and the next good request is answered."""

import base64
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from typing import Any

import httpx
import pytest

from tests.support.photos import png
from tests.support.requests import base64_text, json_body, multipart, photo, raw, truncated

GOOD = base64_text(photo())
JSON = {"content-type": "application/json"}
FORM = {"content-type": "multipart/form-data; boundary=xyz"}
PART = b'--xyz\r\ncontent-disposition: form-data; name="images"; filename="a.jpg"\r\n\r\n'
NO_FILE = PART.replace(b'; filename="a.jpg"', b"")


@dataclass(frozen=True)
class Bad:
    """One bad request and its expected response."""

    name: str
    send: dict[str, Any]
    status: int
    code: str
    _: KW_ONLY
    words: str
    field: str | None = None
    image_code: str | None = None
    path: str = "/predict"
    method: str = "POST"


def option(name: str, send: dict[str, Any], field: str, words: str, path: str = "/predict") -> Bad:
    return Bad(name, send, 422, "invalid_option", field=field, words=words, path=path)


def image(name: str, data: bytes, code: str, words: str) -> Bad:
    return Bad(name, raw(data), 422, "unusable_images", image_code=code, words=words)


def encoded_image(name: str, code: str, words: str, **item: str) -> Bad:
    send = {"json": {"images": [item]}}
    return Bad(name, send, 422, "unusable_images", image_code=code, words=words)


def malformed(name: str, content: bytes, headers: dict[str, str], words: str) -> Bad:
    return Bad(name, {"content": content, "headers": headers}, 400, "malformed_body", words=words)


def unsupported(name: str, headers: dict[str, str], words: str) -> Bad:
    send = {"content": b"x", "headers": headers}
    return Bad(name, send, 415, "unsupported_media_type", words=words)


def zero_shot(name: str, field: str, words: str, **options: Any) -> Bad:
    return option(name, json_body(photo(), **options), field, words, "/zero-shot")


def chunked(size: int) -> Iterator[bytes]:
    yield PART
    for _ in range(size // 2**16):
        yield bytes(2**16)


IMAGES = [
    image("text as an image", b"a photo of a beach", "not_an_image", "send JPEG"),
    image("truncated JPEG", truncated(), "corrupt", "send the whole file again"),
    image(
        "decompression bomb",
        png(30_000, 30_000, 8, 2, b""),
        "too_many_pixels",
        "at most 50,000,000 are allowed",
    ),
    image("too many bytes", photo() + bytes(2 * 2**20), "too_many_bytes", "at most 2,097,152"),
    image("SVG", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported_format", "send JPEG"),
    Bad(
        "zero-byte file",
        multipart(b""),
        422,
        "unusable_images",
        image_code="empty",
        words="no bytes",
    ),
    encoded_image("not base64", "invalid_base64", "not base64", data="~~~~"),
    encoded_image("cut base64", "invalid_base64", "not base64", data=GOOD[:-3]),
    encoded_image("base64 in umlauts", "invalid_base64", "not base64", data="äöü="),
    encoded_image("empty base64", "empty", "no bytes", data=""),
    encoded_image("data: URL", "invalid_base64", "';base64'", data="data:image/png,%89PNG"),
    encoded_image("URL", "url_not_allowed", "base64", url="https://example.org/a.jpg"),
    encoded_image(
        "too many bytes in base64",
        "too_many_bytes",
        "at most",
        data=base64_text(bytes(2 * 2**20 + 3)),
    ),
]

OPTIONS = [
    option(
        "unknown label", json_body(photo(), include_labels=["beech"]), "include_labels", "beach"
    ),
    option("unknown label, raw", raw(photo(), exclude_labels="beech"), "exclude_labels", "beach"),
    option(
        "unknown category",
        multipart(photo(), include_categories="Bathrom"),
        "include_categories",
        "did you mean",
    ),
    option(
        "unknown option, JSON",
        json_body(photo(), min_confidance=0.5),
        "min_confidance",
        "did you mean min_confidence",
    ),
    option(
        "unknown option, form",
        multipart(photo(), min_confidance="0.5"),
        "min_confidance",
        "did you mean min_confidence",
    ),
    option(
        "unknown option, query",
        raw(photo(), min_confidance="0.5"),
        "min_confidance",
        "did you mean min_confidence",
    ),
    option("like nothing", raw(photo(), qqq="1"), "qqq", "known: all_scores"),
    option("2, JSON", json_body(photo(), min_confidence=2), "min_confidence", "equal to 1"),
    option("2, form", multipart(photo(), min_confidence="2"), "min_confidence", "equal to 1"),
    option("-1, query", raw(photo(), min_confidence="-1"), "min_confidence", "equal to 0"),
    option("NaN, form", multipart(photo(), min_confidence="NaN"), "min_confidence", "finite"),
    option("NaN, query", raw(photo(), min_confidence="nan"), "min_confidence", "finite"),
    option("word", raw(photo(), min_confidence="high"), "min_confidence", "valid number"),
    option("no labels", raw(photo(), max_labels="0"), "max_labels", "equal to 1"),
    option("half a label", raw(photo(), max_labels="1.5"), "max_labels", "valid integer"),
    option("no boolean", raw(photo(), all_scores="maybe"), "all_scores", "boolean"),
    option("no list", json_body(photo(), include_labels="beach"), "include_labels", "valid list"),
    option("twice, form", multipart(photo(), max_labels=["1", "2"]), "max_labels", "give it once"),
    option("twice, query", raw(photo(), max_labels=["1", "2"]), "max_labels", "give it once"),
    option(
        "query with JSON",
        {**json_body(photo()), "params": {"max_labels": "1"}},
        "max_labels",
        "the JSON object",
    ),
    option(
        "query with a form",
        {**multipart(photo()), "params": {"max_labels": "1"}},
        "max_labels",
        "form fields",
    ),
    zero_shot("no place", "template", 'must contain "{}"', labels=["beach"], template="a photo"),
    zero_shot("0 labels", "labels", "at least 1", labels=[]),
    zero_shot("labels left out", "labels", "missing"),
    zero_shot("1001 labels", "labels", "at most 1000", labels=[str(i) for i in range(1001)]),
    zero_shot(
        "the same label", "labels", "'beach' is given twice", labels=["beach", "pool", " beach"]
    ),
    zero_shot("blank label", "labels.0", "at least 1 character", labels=[" "]),
    zero_shot("no scoring", "scoring", "'sigmoid', 'softmax'", labels=["x"], scoring="max"),
    option(
        "huge name of a label",
        json_body(photo(), include_labels=["beach" * 1000]),
        "include_labels.0",
        "at most 200",
    ),
    option("huge name", {"json": {"images": [], "a" * 5000: 1}}, "a" * 60 + "…", "known: all"),
    zero_shot("huge label", "labels.0", "at most 1000", labels=["pool " * 100_000]),
    zero_shot("huge template", "template", "at most 200", labels=["x"], template="{}" * 10_000),
]

BODIES = [
    malformed("empty body", b"", {"content-type": "image/jpeg"}, "empty"),
    malformed("empty JSON", b"", JSON, "empty"),
    malformed("empty form", b"", FORM, "empty"),
    malformed("broken JSON", b'{"images": [', JSON, "not JSON"),
    malformed("JSON array", b"[]", JSON, "{...}"),
    malformed("JSON text", b'"images"', JSON, "{...}"),
    malformed("NaN in JSON", b'{"min_confidence": NaN}', JSON, "not JSON"),
    malformed("lone surrogate", b'{"images": "\\ud800"}', JSON, "not JSON"),
    malformed("not UTF-8", b'{"images": "\xff"}', JSON, "not JSON"),
    malformed("deep JSON", b"[" * 100_000, JSON, "not JSON"),
    malformed("truncated form", PART + photo(), FORM, "closing boundary"),
    malformed("truncated head", PART[:30], FORM, "closing boundary"),
    malformed("another boundary", PART.replace(b"xyz", b"abc"), FORM, "not begin any line"),
    malformed("no boundary", PART, {"content-type": "multipart/form-data"}, "has no boundary"),
    malformed("no part name", b"--xyz\r\n\r\n\r\n--xyz--\r\n", FORM, "has no name"),
    unsupported("no type", {}, "no content type; send multipart"),
    unsupported("form of curl -d", {"content-type": "application/x-www-form-urlencoded"}, "images"),
    unsupported("gzip", {"content-type": "image/jpeg", "content-encoding": "gzip"}, "'gzip'"),
    unsupported("video", {"content-type": "video/mp4"}, "'video/mp4'"),
    option("no images, JSON", {"json": {"images": []}}, "images", "send 1 to 64"),
    option("images left out", {"json": {}}, "images", "missing"),
    option(
        "no images, form",
        {"content": b"--xyz--\r\n", "headers": FORM},
        "images",
        "send 1 to 64",
    ),
    option("wrong part", {"files": {"image": photo()}}, "image", "must be named 'images'"),
    option("wrong key", {"json": {"image": [{"data": GOOD}]}}, "image", "did you mean images"),
    option(
        "images as a field",
        {"content": NO_FILE + b"x\r\n--xyz--\r\n", "headers": FORM},
        "images",
        "file parts",
    ),
    option(
        "neither data nor url",
        {"json": {"images": [{"id": "a"}]}},
        "images.0",
        "either data (base64) or url",
    ),
    option(
        "unknown option in an image",
        {"json": {"images": [{"dta": GOOD}]}},
        "images.0.dta",
        "did you mean data",
    ),
    option(
        "the same id",
        {"json": {"images": [{"id": "a", "data": GOOD}, {"id": "a", "data": GOOD}]}},
        "images",
        "2 images have the id 'a'",
    ),
    option("65 images, form", multipart(*[b"x"] * 65), "images", "at most 64"),
    option("65 images, JSON", json_body(*[b"x"] * 65), "images", "at most 64"),
    Bad(
        "body over the limit",
        {"content": bytes(9 * 2**20), "headers": FORM},
        413,
        "body_too_large",
        words="8388608",
    ),
    Bad(
        "chunked body over the limit",
        {"content": chunked(9 * 2**20), "headers": FORM},
        413,
        "body_too_large",
        words="8388608",
    ),
    Bad(
        "long text",
        json_body(photo(), labels=["very " * 40 + "nice pool"]),
        422,
        "invalid_text",
        words="reads at most 30",
        path="/zero-shot",
    ),
    Bad("unknown route", {}, 404, "not_found", words="/openapi.json", path="/predct"),
    Bad("GET unknown route", {}, 404, "not_found", words="GET /docs", method="GET", path="/x"),
    Bad("GET", {}, 405, "method_not_allowed", words="POST", method="GET"),
]


def name_of(bad: Bad) -> str:
    return bad.name.replace(" ", "-")


@pytest.mark.parametrize("bad", IMAGES + OPTIONS + BODIES, ids=name_of)
def test_bad_request_gets_problem_with_cause_and_hint(client: httpx.Client, bad: Bad) -> None:
    answer = client.request(bad.method, bad.path, **bad.send)
    assert answer.status_code == bad.status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == bad.code
    assert problem["type"] == f"urn:mumic:problem:{bad.code}"
    assert problem["status"] == bad.status
    assert problem["title"]
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert bad.words in problem["detail"]
    assert len(problem["detail"]) < 400
    assert problem.get("field") == bad.field
    codes = [result["error"]["code"] for result in problem.get("results", [])]
    assert codes == ([bad.image_code] if bad.image_code else [])
    assert client.post("/predict", **raw(photo())).status_code == 200


def test_requests_at_limits_are_accepted(client: httpx.Client) -> None:
    small = photo(side_px=64)
    assert client.post("/predict", **multipart(*[small] * 64)).status_code == 200
    padded = small + bytes(2 * 2**20 - len(small))
    assert client.post("/predict", **raw(padded)).status_code == 200
    coded = base64.b64encode(padded).decode()
    answer = client.post("/predict", json={"images": [{"data": coded}]})
    assert answer.status_code == 200


def test_405_lists_allowed_methods(client: httpx.Client) -> None:
    assert client.get("/predict").headers["allow"] == "OPTIONS, POST"
    assert client.post("/model").headers["allow"] == "GET, HEAD, OPTIONS"
