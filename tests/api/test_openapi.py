"""openapi.yaml matches the code and contains the whole HTTP contract."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
import yaml

from app.core.classifier import Classifier
from app.core.labels import Label, LabelSet
from app.errors import ImageErrorCode
from app.main import create_app
from app.serving.http.problems import CODES
from app.serving.request import TIMEOUT_HEADER
from app.settings import Settings
from tests.support.tiny import write_tiny

FILE = Path(__file__).parents[2] / "openapi.yaml"
IMAGE_PATHS = ("/predict", "/embed", "/zero-shot", "/validate", "/gallery", "/similar")
READ_PATHS = ("/labels", "/model", "/healthz", "/readyz", "/metrics")


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return loaded


def nodes(part: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of a document."""
    if isinstance(part, dict):
        yield part
    for child in part.values() if isinstance(part, dict) else part:
        if isinstance(child, dict | list):
            yield from nodes(child)


def resolve(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Resolve a `$ref`; raises KeyError if there is no such schema."""
    found: Any = schema
    if "$ref" in schema:
        start, *path = schema["$ref"].split("/")
        assert start == "#"
        found = document
        for part in path:
            found = found[part]
    return dict(found)


def test_openapi_yaml_matches_code(
    document: dict[str, Any], tiny_classifier: Classifier, small_settings: Settings
) -> None:
    said = create_app(small_settings, tiny_classifier).openapi()
    assert document == said, "run `mumic openapi > openapi.yaml`"


def test_openapi_does_not_depend_on_checkpoint(
    document: dict[str, Any], tmp_path: Path, small_settings: Settings
) -> None:
    pool = Label(id="pool", name="Pool", description="pool, a basin", category="Water")
    other = write_tiny(tmp_path / "other", LabelSet(version="9", labels=(pool,)), seed=1)
    classifier = Classifier.load(other, device="cpu", precision="fp32")
    assert create_app(small_settings, classifier).openapi() == document


def test_server_returns_same_document(document: dict[str, Any], client: httpx.Client) -> None:
    assert client.get("/openapi.json").json() == document


def test_every_documented_path_exists(document: dict[str, Any]) -> None:
    operations = {path: set(methods) for path, methods in document["paths"].items()}
    expected = {path: {"post"} for path in IMAGE_PATHS} | {path: {"get"} for path in READ_PATHS}
    expected |= {"/labels": {"get", "post"}, "/labels/{id}": {"get", "delete"}}
    assert operations == expected


def test_references_resolve_and_schemas_are_used(
    document: dict[str, Any],
) -> None:
    assert document["openapi"].startswith("3.")
    references = [node for node in nodes(document) if isinstance(node.get("$ref"), str)]
    for reference in references:
        assert resolve(document, reference)
    used = {reference["$ref"].rpartition("/")[2] for reference in references}
    assert used == set(document["components"]["schemas"])
    ids = [
        operation["operationId"]
        for path in document["paths"].values()
        for operation in path.values()
    ]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("path", IMAGE_PATHS)
def test_every_body_format_is_described(document: dict[str, Any], path: str) -> None:
    operation = document["paths"][path]["post"]
    content = operation["requestBody"]["content"]
    assert set(content) == {"multipart/form-data", "application/json", "image/*"}
    form = resolve(document, content["multipart/form-data"]["schema"])["properties"]
    json_form = resolve(document, content["application/json"]["schema"])["properties"]
    query = {each["name"] for each in operation["parameters"] if each["in"] == "query"}
    assert "images" in form and "images" in json_form
    assert set(form) - {"images"} == query
    assert query <= set(json_form)


def test_operation_ids_are_short_and_stable(document: dict[str, Any]) -> None:
    ids = {
        (method, path): operation["operationId"]
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    posts = {("post", path): path[1:].replace("-", "_") for path in IMAGE_PATHS}
    reads = {("get", path): path[1:] for path in READ_PATHS}
    assert ids == posts | reads | {
        ("get", "/labels/{id}"): "label",
        ("post", "/labels"): "add_label",
        ("delete", "/labels/{id}"): "remove_label",
    }


def test_server_url_is_relative_to_document(document: dict[str, Any]) -> None:
    assert document["servers"] == [{"url": "."}]


def test_security_schemes_are_described_as_optional(document: dict[str, Any]) -> None:
    schemes = document["components"]["securitySchemes"]
    assert schemes["ApiKey"] == {"type": "apiKey", "in": "header", "name": "X-API-Key"}
    assert {name: scheme["type"] for name, scheme in schemes.items()} == {
        "ApiKey": "apiKey",
        "ApiKeyAsBearer": "http",
        "MetricsToken": "http",
        "AdminToken": "http",
    }
    keys: list[dict[str, Any]] = [{}, {"ApiKey": []}, {"ApiKeyAsBearer": []}]
    for path, security in (
        ("/predict", keys),
        ("/model", keys),
        ("/metrics", [{}, {"MetricsToken": []}]),
        ("/healthz", None),
        ("/readyz", None),
    ):
        for operation in document["paths"][path].values():
            assert operation.get("security") == security
            assert ("401" in operation["responses"]) == (security is not None)


@pytest.mark.parametrize("path", IMAGE_PATHS)
def test_files_have_format_and_media_type(document: dict[str, Any], path: str) -> None:
    content = document["paths"][path]["post"]["requestBody"]["content"]
    form = resolve(document, content["multipart/form-data"]["schema"])["properties"]
    for schema in (form["images"]["items"], content["image/*"]["schema"]):
        assert schema == {
            "type": "string",
            "format": "binary",
            "contentMediaType": "application/octet-stream",
        }


@pytest.mark.parametrize("path", IMAGE_PATHS)
def test_lists_in_forms_are_repeated_fields(document: dict[str, Any], path: str) -> None:
    form = document["paths"][path]["post"]["requestBody"]["content"]["multipart/form-data"]
    properties = resolve(document, form["schema"])["properties"]
    lists = {name for name, field in properties.items() if field.get("type") == "array"}
    assert form["encoding"].keys() == lists - {"images"}
    assert all(each == {"style": "form", "explode": True} for each in form["encoding"].values())


def test_optional_values_need_no_anyof(document: dict[str, Any]) -> None:
    assert not [node for node in nodes(document) if {"type": "null"} in node.get("anyOf", [])]
    problem = document["components"]["schemas"]["ProblemDetails"]["properties"]
    assert (problem["field"], problem["results"]["type"]) == ({"type": "string"}, "array")


def test_nullable_values_of_responses_allow_null(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert schemas["PredictedLabel"]["properties"]["threshold"]["type"] == ["number", "null"]
    assert schemas["LabelThresholds"]["properties"]["serve"]["type"] == ["number", "null"]
    evidence = schemas["LabelInfo"]["properties"]["evidence"]
    assert evidence["type"] == ["string", "null"]
    assert evidence["enum"] == ["human", "pseudo", "none", None]
    assert {"threshold", "parents"} <= set(schemas["PredictedLabel"]["required"])
    assert "evidence" in schemas["LabelInfo"]["required"]


def test_only_readiness_answers_draining(document: dict[str, Any]) -> None:
    for path, draining in (("/healthz", False), ("/readyz", True)):
        description = document["paths"][path]["get"]["responses"]["503"]["description"]
        assert ("`draining`" in description) == draining
        assert "`not_ready`" in description


def test_every_documented_option_exists(document: dict[str, Any]) -> None:
    def options(path: str) -> set[str]:
        parameters = document["paths"][path]["post"]["parameters"]
        assert [each["name"] for each in parameters if each["in"] == "header"] == [TIMEOUT_HEADER]
        return {each["name"] for each in parameters if each["in"] == "query"}

    assert options("/predict") == {
        "min_confidence",
        "max_labels",
        "include_labels",
        "include_categories",
        "exclude_labels",
        "exclude_categories",
        "all_scores",
    }
    assert options("/embed") == {"encoding"}
    assert options("/zero-shot") == {"labels", "template", "scoring"}
    assert "application/x-npy" in document["paths"]["/embed"]["post"]["responses"]["200"]["content"]


def test_every_error_code_is_listed(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert schemas["ProblemDetails"]["properties"]["code"]["enum"] == CODES
    assert set(schemas["ItemError"]["properties"]["code"]["enum"]) == set(get_args(ImageErrorCode))
    assert {
        "malformed_body",
        "unauthorized",
        "body_too_slow",
        "body_too_large",
        "checkpoint_refused",
        "not_ready",
        "unsupported_media_type",
        "invalid_option",
        "invalid_text",
        "unusable_images",
        "overloaded",
        "inference_failed",
        "internal_error",
        "draining",
        "deadline_exceeded",
        "no_index",
        "unknown_label",
        "built_in_label",
        "label_exists",
        "labels_read_only",
        "contradicting_examples",
        "not_written",
        "not_found",
        "method_not_allowed",
    } == set(CODES)


@pytest.mark.parametrize("path", IMAGE_PATHS)
def test_problems_of_each_operation_are_described(document: dict[str, Any], path: str) -> None:
    responses = document["paths"][path]["post"]["responses"]
    problems = ["400", "401", "408", "413", "415", "422", "429", "500", "503", "504"]
    if path == "/similar":
        problems.insert(2, "404")
    assert list(responses) == ["200", *problems, "431"]
    for status in problems:
        (media_type,) = responses[status]["content"]
        assert media_type == "application/problem+json"
    assert resolve(document, responses["200"]["content"]["application/json"]["schema"])
