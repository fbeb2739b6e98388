"""The parts of openapi.yaml that FastAPI cannot derive, since routes parse bodies themselves."""

from typing import Any

from fastapi import FastAPI

from app.serving.http.problems import CODES, INTERNAL_ERROR, MEDIA_TYPE, PROBLEM_KINDS
from app.serving.request import TIMEOUT_HEADER
from app.serving.schemas import EmbedBody, Options, PredictBody, ProblemDetails, ZeroShotBody

REF = "#/components/schemas/{model}"
BINARY = {"type": "string", "format": "binary"}


def image_operation(
    options: type[Options], json_body: type[Options], answers: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Describe the bodies, parameters and responses of an endpoint that takes images.

    Args:
        options: model of its form fields and query parameters.
        json_body: model of its JSON body.
        answers: further media types of the response.

    Returns:
        Arguments of FastAPI's route decorator.
    """
    schema = options.model_json_schema(ref_template=REF)
    fields = {name: _without_null(field) for name, field in schema["properties"].items()}
    files = {"type": "array", "items": BINARY, "minItems": 1}
    form = schema | {
        "properties": {"images": files, **fields},
        "required": ["images", *schema.get("required", [])],
    }
    parameters: list[dict[str, Any]] = [
        {
            "name": name,
            "in": "query",
            "required": False,
            # /docs sends defaults in the query, which a multipart request may not have.
            "schema": {key: value for key, value in field.items() if key != "default"},
            "description": "only with the raw bytes of one image as the body",
        }
        for name, field in fields.items()
    ]
    parameters.append(
        {
            "name": TIMEOUT_HEADER,
            "in": "header",
            "required": False,
            "schema": {"type": "integer", "minimum": 1, "maximum": 9_999_999_999},
            "description": "deadline of this request in milliseconds, at most the server's",
        }
    )
    responses: dict[int | str, dict[str, Any]] = {
        200: {"content": answers or {}},
        **problem_responses(),
        431: {
            "description": "the path and the headers are too long",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        },
    }
    return {
        "responses": responses,
        "openapi_extra": {
            "parameters": parameters,
            "requestBody": {
                "required": True,
                "content": {  # /docs preselects the first
                    "image/*": {"schema": BINARY},
                    "multipart/form-data": {"schema": form},
                    "application/json": {"schema": {"$ref": REF.format(model=json_body.__name__)}},
                },
            },
        },
    }


def _without_null(field: dict[str, Any]) -> dict[str, Any]:
    """Convert a field's schema for forms and queries, which have no null."""
    schemas = [schema for schema in field.get("anyOf", []) if schema != {"type": "null"}]
    rest = {key: value for key, value in field.items() if key != "anyOf"}
    return rest | schemas[0] if schemas else rest


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the problem responses of an operation.

    Args:
        statuses: HTTP statuses to describe; by default all that are not administrative.
    """
    responses: dict[int | str, dict[str, Any]] = {}
    by_status: dict[int, list[str]] = {}
    for kind in (*PROBLEM_KINDS.values(), INTERNAL_ERROR):
        if kind.status in statuses or not (statuses or kind.administrative):
            by_status.setdefault(kind.status, []).append(f"`{kind.code}`: {kind.title}")
    for status, codes in sorted(by_status.items()):
        responses[status] = {
            "description": "; ".join(codes),
            "content": {MEDIA_TYPE: {"schema": {"$ref": REF.format(model="ProblemDetails")}}},
        }
    return responses


def describe(app: FastAPI) -> dict[str, Any]:
    """Build the OpenAPI document, including the schemas that operations only refer to."""
    document = FastAPI.openapi(app)
    components = document["components"]["schemas"]
    for model in (PredictBody, EmbedBody, ZeroShotBody, ProblemDetails):
        schema = model.model_json_schema(ref_template=REF)
        components |= schema.pop("$defs", {})
        components[model.__name__] = schema
    components["ProblemDetails"]["properties"]["code"]["enum"] = CODES
    return document
