"""The parts of openapi.yaml that FastAPI cannot see, since bodies are read by hand."""

from typing import Any

from fastapi import FastAPI

from app.serving.http.problems import CODES, INTERNAL, KINDS, MEDIA_TYPE
from app.serving.request import HEADER
from app.serving.schemas import EmbedBody, Options, PredictBody, ProblemDetails, ZeroShotBody

REF = "#/components/schemas/{model}"
BINARY = {"type": "string", "format": "binary"}


def image_operation(
    options: type[Options], json_body: type[Options], answers: dict[str, Any] | None = None
) -> dict[str, Any]:
    """What an endpoint that takes images says of its bodies, parameters and problems.

    Args:
        options: its options, as form fields and query parameters.
        json_body: its JSON form.
        answers: further media types of the answer.
    """
    schema = options.model_json_schema(ref_template=REF)
    fields = {name: _of_text(field) for name, field in schema["properties"].items()}
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
            # /docs sends what has a default, and in the query that is refused with a form.
            "schema": {key: value for key, value in field.items() if key != "default"},
            "description": "only with the raw bytes of one image as the body",
        }
        for name, field in fields.items()
    ]
    parameters.append(
        {
            "name": HEADER,
            "in": "header",
            "required": False,
            "schema": {"type": "integer", "minimum": 1, "maximum": 9_999_999_999},
            "description": "the request's time, where it is to be less than the server's",
        }
    )
    responses: dict[int | str, dict[str, Any]] = {
        200: {"content": answers or {}},
        **problem_responses(),
        431: {
            "description": "the address and the headers are too long",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        },
    }
    return {
        "responses": responses,
        "openapi_extra": {
            "parameters": parameters,
            "requestBody": {
                "required": True,
                "content": {  # the first is what /docs begins with
                    "image/*": {"schema": BINARY},
                    "multipart/form-data": {"schema": form},
                    "application/json": {"schema": {"$ref": REF.format(model=json_body.__name__)}},
                },
            },
        },
    }


def _of_text(field: dict[str, Any]) -> dict[str, Any]:
    """A field as forms and queries have it: they know no null."""
    kinds = [kind for kind in field.get("anyOf", []) if kind != {"type": "null"}]
    rest = {key: value for key, value in field.items() if key != "anyOf"}
    return rest | kinds[0] if kinds else rest


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What an operation says of its problems.

    Args:
        statuses: those that it can answer with; none stands for all that clients meet.
    """
    responses: dict[int | str, dict[str, Any]] = {}
    by_status: dict[int, list[str]] = {}
    for kind in (*KINDS.values(), INTERNAL):
        if kind.status in statuses or not (statuses or kind.administrative):
            by_status.setdefault(kind.status, []).append(f"`{kind.code}`: {kind.title}")
    for status, codes in sorted(by_status.items()):
        responses[status] = {
            "description": "; ".join(codes),
            "content": {MEDIA_TYPE: {"schema": {"$ref": REF.format(model="ProblemDetails")}}},
        }
    return responses


def describe(app: FastAPI) -> dict[str, Any]:
    """The app's OpenAPI document, with the schemas that its operations only name."""
    document = FastAPI.openapi(app)
    components = document["components"]["schemas"]
    for model in (PredictBody, EmbedBody, ZeroShotBody, ProblemDetails):
        schema = model.model_json_schema(ref_template=REF)
        components |= schema.pop("$defs", {})
        components[model.__name__] = schema
    components["ProblemDetails"]["properties"]["code"]["enum"] = CODES
    return document
