"""openapi.yaml allows what the server accepts, forbids what it refuses, and describes each answer.

`make contract` does the same with generated requests; this file has some of each kind.
"""

from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.support.requests import (
    BODY_BUILDERS,
    BodyBuilder,
    base64_text,
    multipart,
    photo,
    raw,
    truncated,
)

DATA = base64_text(photo(side_px=32))
GOOD, OTHER = {"data": DATA}, {"id": "b", "data": DATA}
URL = {"url": "https://127.0.0.1/photo.jpg"}
ONE = {"images": [GOOD]}
LABELS = {"labels": ["pool", "beach"]}
DECLARED = {"declared": ["sauna", "a red door"]}

BODIES: list[tuple[str, Any]] = [
    ("/predict", ONE),
    ("/predict", {"images": [GOOD, OTHER, {**URL, "id": "c"}]}),
    ("/predict", {"images": [{"data": DATA, "url": None, "id": None}]}),
    ("/predict", {"images": [{"data": DATA, "url": "x"}]}),
    ("/predict", {"images": [{"id": "a"}]}),
    ("/predict", {"images": [{"id": "a" * 257, "data": DATA}]}),
    ("/predict", {"images": [{**GOOD, "size": 1}]}),
    ("/predict", {"images": []}),
    ("/predict", {"images": None}),
    ("/predict", {}),
    ("/predict", {**ONE, "min_confidence": 0}),
    ("/predict", {**ONE, "min_confidence": None}),
    ("/predict", {**ONE, "min_confidence": 1.5}),
    ("/predict", {**ONE, "min_confidence": "0.5"}),
    ("/predict", {**ONE, "max_labels": 10**30}),
    ("/predict", {**ONE, "max_labels": 3.0}),
    ("/predict", {**ONE, "max_labels": 3.5}),
    ("/predict", {**ONE, "max_labels": 0}),
    ("/predict", {**ONE, "max_labels": True}),
    ("/predict", {**ONE, "all_scores": True}),
    ("/predict", {**ONE, "all_scores": 1}),
    ("/predict", {**ONE, "all_scores": None}),
    ("/predict", {**ONE, "all_scores": True, "max_labels": 3}),
    ("/predict", {**ONE, "all_scores": True, "max_labels": None}),
    ("/predict", {**ONE, "all_scores": False, "min_confidence": 0.5, "max_labels": 3}),
    ("/predict", {**ONE, "include_labels": ["beach"] * 1000}),
    ("/predict", {**ONE, "include_labels": ["beach"] * 1001}),
    ("/predict", {**ONE, "include_labels": "beach"}),
    ("/predict", {**ONE, "exclude_categories": None}),
    ("/predict", {**ONE, "labels": ["beach"]}),
    ("/embed", ONE),
    ("/embed", {"texts": ["pool"]}),
    ("/embed", {"texts": ["pool"], "images": None, "encoding": "base64"}),
    ("/embed", {"texts": []}),
    ("/embed", {"texts": ["\u2003"]}),
    ("/embed", {"texts": ["pool"], **ONE}),
    ("/embed", {"encoding": "float"}),
    ("/embed", {**ONE, "encoding": "npy"}),
    ("/zero-shot", {**ONE, **LABELS}),
    ("/zero-shot", {**ONE, **LABELS, "scoring": "pair", "template": "{}, a photo"}),
    ("/zero-shot", {**ONE, **LABELS, "template": "a photo"}),
    ("/zero-shot", {**ONE, **LABELS, "template": None}),
    ("/zero-shot", {**ONE, **LABELS, "scoring": "max"}),
    ("/zero-shot", {**ONE, "labels": []}),
    ("/zero-shot", {**ONE, "labels": ["pool", "pool"]}),
    ("/zero-shot", {**ONE, "labels": ["p" * 1001]}),
    ("/zero-shot", ONE),
    ("/validate", {**ONE, **DECLARED}),
    ("/validate", {**ONE, **DECLARED, "min_confidence": 0, "include_categories": ["Room"]}),
    ("/validate", {**ONE, **DECLARED, "min_confidence": None, "exclude_labels": ["lamp"]}),
    ("/validate", {**ONE, **DECLARED, "min_confidence": 1.5}),
    ("/validate", {**ONE, **DECLARED, "max_labels": 1}),
    ("/validate", {**ONE, "declared": []}),
    ("/validate", {**ONE, "declared": "sauna"}),
    ("/validate", {**ONE, "declared": ["sauna", "sauna"]}),
    ("/validate", {**ONE, "declared": ["p" * 1001]}),
    ("/validate", DECLARED),
    ("/validate", ONE),
    ("/gallery", ONE),
    ("/gallery", {**ONE, "count": 1, "weights": {"Room": 2, "Outside": 0.5}}),
    ("/gallery", {**ONE, "count": None}),
    ("/gallery", {**ONE, "count": 0}),
    ("/gallery", {**ONE, "weights": {"Room": -1}}),
    ("/gallery", {**ONE, "weights": {"Room": "2"}}),
    ("/gallery", {**ONE, "max_labels": 1}),
    ("/gallery", {"count": 1}),
]


class Document:
    """openapi.yaml, with validation of requests and responses."""

    def __init__(self) -> None:
        file = Path(__file__).parents[2] / "openapi.yaml"
        self.content: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))

    def operation(self, path: str, method: str = "post") -> dict[str, Any]:
        """Return the description of an operation."""
        found: dict[str, Any] = self.content["paths"][path][method]
        return found

    def errors(self, schema: dict[str, Any], value: object) -> list[str]:
        """Return the validation errors of a value."""
        validator = Draft202012Validator(schema | {"components": self.content["components"]})
        return [error.message for error in validator.iter_errors(value)]

    def check(self, answer: httpx.Response) -> None:
        """Validate a response against its schema."""
        request = answer.request
        described = self.operation(request.url.path, request.method.lower())["responses"]
        content = described[str(answer.status_code)]["content"]
        schema = content[answer.headers["content-type"].partition(";")[0]]["schema"]
        assert self.errors(schema, answer.json()) == []


@pytest.fixture(scope="module")
def document() -> Document:
    return Document()


@pytest.mark.parametrize(("path", "body"), BODIES, ids=range(len(BODIES)))
def test_json_allowed_by_openapi_is_accepted(
    client: httpx.Client, document: Document, path: str, body: Any
) -> None:
    schema = document.operation(path)["requestBody"]["content"]["application/json"]["schema"]
    answer = client.post(path, json=body)
    assert (answer.status_code == 200) == (document.errors(schema, body) == []), answer.text
    document.check(answer)


@pytest.mark.parametrize("build_body", BODY_BUILDERS)
@pytest.mark.parametrize("path", ["/predict", "/embed", "/zero-shot", "/validate", "/gallery"])
def test_responses_of_every_body_format_match_openapi(
    client: httpx.Client, document: Document, path: str, build_body: BodyBuilder
) -> None:
    options = {"/zero-shot": LABELS, "/validate": DECLARED}.get(path, {})
    for data, status in ((photo(), 200), (truncated(), 422)):
        answer = client.post(path, **build_body(data, **options))
        assert answer.status_code == status
        document.check(answer)
    answer = client.post(path, **multipart(photo(), truncated(), **options))
    assert [result["status"] for result in answer.json()["results"]] == ["ok", "error"]
    document.check(answer)
    document.check(client.post(path, **raw(b"", **options)))
    document.check(client.post(path, content=b"x"))


@pytest.mark.parametrize("path", ["/labels", "/model", "/healthz", "/readyz"])
def test_responses_of_get_routes_match_openapi(
    client: httpx.Client, document: Document, path: str
) -> None:
    document.check(client.get(path))
