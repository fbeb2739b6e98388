"""The parts of openapi.yaml that FastAPI cannot derive, since routes parse bodies themselves."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from app.errors import MumicError, UnauthorizedError
from app.serving.http.auth import KEY, KEY_AS_BEARER, METRICS_TOKEN
from app.serving.http.problems import (
    CODES,
    INTERNAL_ERROR,
    MEDIA_TYPE,
    PROBLEM_KINDS,
    ProblemKind,
)
from app.serving.request import TIMEOUT_HEADER
from app.serving.schemas import (
    EmbedBody,
    EmbedOptions,
    GalleryBody,
    GalleryOptions,
    LabelBody,
    LabelOptions,
    Options,
    PredictBody,
    PredictOptions,
    ProblemDetails,
    SimilarBody,
    SimilarOptions,
    ValidateBody,
    ValidateOptions,
    ZeroShotBody,
    ZeroShotOptions,
)

REF = "#/components/schemas/{model}"
# OpenAPI 3.1 names the media type of a file; some generators know only the format of 3.0.
BINARY = {
    "type": "string",
    "format": "binary",
    "contentMediaType": "application/octet-stream",
}
# A PNG of 16 x 16 pixels, so that the requests of /docs succeed without editing.
EXAMPLE_IMAGE = (
    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAIUlEQVR42mOs2PKMgRTAxEAiGNVAEw2Mz070jIYS1TUAAH1q"
    "BGuN6M95AAAAAElFTkSuQmCC"
)
NULL = {"type": "null"}
NOT_IN_QUERY = ("default", "description", "title")
ONLY_RAW = "only with the raw bytes of one image as the body"
# Needed only if the operator configures keys or tokens; probes need nothing.
OPTIONAL_SECURITY = {"/metrics": (METRICS_TOKEN,), "/healthz": (), "/readyz": ()}
TAGS = [
    {"name": "images", "description": "Tag, embed and score photos"},
    {"name": "information", "description": "The label set, the checkpoint, health and metrics"},
    {"name": "administration", "description": "Changes of the label set"},
]


def operation_id(route: APIRoute) -> str:
    """Return a route's operation id, which generated clients use as a function name."""
    return route.name


def image_operation(
    options: type[Options],
    json_body: type[Options],
    *,
    example: dict[str, Any],
    answers: dict[str, Any] | None = None,
    errors: Sequence[type[MumicError]] = (),
    success: int = 200,
) -> dict[str, Any]:
    """Describe the bodies, parameters and responses of an endpoint that takes images.

    Args:
        options: model of its form fields and query parameters.
        json_body: model of its JSON body.
        example: options of the JSON body's example, next to its image.
        answers: further media types of the response.
        errors: what it raises besides the errors of all such endpoints.
        success: status of its response.

    Returns:
        Arguments of FastAPI's route decorator.
    """
    fields = _fields(options)
    parameters: list[dict[str, Any]] = [
        {
            "name": name,
            "in": "query",
            "required": False,
            # /docs sends defaults in the query, which a multipart request may not have.
            "schema": {key: value for key, value in field.items() if key not in NOT_IN_QUERY},
            "description": f"{field['description']} ({ONLY_RAW})",
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
    kinds = [kind for error, kind in PROBLEM_KINDS.items() if error in errors or not kind.specific]
    responses: dict[int | str, dict[str, Any]] = {
        success: {"content": answers or {}},
        **_problem_responses([*kinds, INTERNAL_ERROR]),
        431: {
            "description": "the path and the headers are too long",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        },
    }
    images = [{"id": "beach", "data": EXAMPLE_IMAGE}]
    return {
        "responses": responses,
        "openapi_extra": {
            "parameters": parameters,
            "requestBody": {
                "required": True,
                "content": {  # /docs preselects the first
                    "application/json": {
                        "schema": {"$ref": REF.format(model=json_body.__name__)},
                        "example": {"images": images, **example},
                    },
                    "multipart/form-data": {
                        "schema": {"$ref": REF.format(model=_form_name(options))},
                        # Repeated fields instead of one field with commas.
                        "encoding": {
                            name: {"style": "form", "explode": True}
                            for name, field in fields.items()
                            if field.get("type") == "array"
                        },
                    },
                    "image/*": {"schema": BINARY},
                },
            },
        },
    }


def problem_responses(*errors: type[MumicError]) -> dict[int | str, dict[str, Any]]:
    """Describe the problem responses of an operation.

    Args:
        errors: what the operation raises; by default all that are not specific to some operations.
    """
    kinds = [kind for error, kind in PROBLEM_KINDS.items() if error in errors]
    if not errors:
        kinds = [*(kind for kind in PROBLEM_KINDS.values() if not kind.specific), INTERNAL_ERROR]
    return _problem_responses(kinds)


def _problem_responses(kinds: Sequence[ProblemKind]) -> dict[int | str, dict[str, Any]]:
    by_status: dict[int, list[str]] = {}
    for kind in kinds:
        by_status.setdefault(kind.status, []).append(f"`{kind.code}`: {kind.title}")
    return {
        status: {
            "description": "; ".join(codes),
            "content": {MEDIA_TYPE: {"schema": {"$ref": REF.format(model="ProblemDetails")}}},
        }
        for status, codes in sorted(by_status.items())
    }


def describe(app: FastAPI) -> dict[str, Any]:
    """Build the OpenAPI document, including the schemas that operations only refer to."""
    document = FastAPI.openapi(app)
    components = document["components"]
    schemas = components["schemas"]
    for model in (
        PredictBody,
        EmbedBody,
        ZeroShotBody,
        GalleryBody,
        ValidateBody,
        SimilarBody,
        LabelBody,
        ProblemDetails,
    ):
        schema = model.model_json_schema(ref_template=REF)
        schemas |= schema.pop("$defs", {})
        schemas[model.__name__] = schema
    for options in (
        PredictOptions,
        EmbedOptions,
        ZeroShotOptions,
        GalleryOptions,
        ValidateOptions,
        SimilarOptions,
        LabelOptions,
    ):
        schemas[_form_name(options)] = _form(options)
    schemas["ProblemDetails"]["properties"]["code"]["enum"] = CODES
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemes = components.setdefault("securitySchemes", {})
    for path, operations in document["paths"].items():
        optional = OPTIONAL_SECURITY.get(path, (KEY, KEY_AS_BEARER))
        for operation in operations.values():
            # FastAPI adds its own form of errors, which the problem handlers replace.
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
            if optional and "security" not in operation:
                operation["security"] = [{}, *({scheme.scheme_name: []} for scheme in optional)]
                for scheme in optional:
                    schemes[scheme.scheme_name] = scheme.model.model_dump(
                        mode="json", by_alias=True, exclude_none=True
                    )
            if "security" in operation:
                for status, response in problem_responses(UnauthorizedError).items():
                    operation["responses"].setdefault(str(status), response)
    document["paths"] = _simplified(document["paths"])
    components["schemas"] = _simplified(schemas)
    return document


def _form_name(options: type[Options]) -> str:
    return options.__name__.replace("Options", "Form")


def _form(options: type[Options]) -> dict[str, Any]:
    """Build the schema of a multipart form: the images and the options."""
    schema = options.model_json_schema(ref_template=REF)
    required = [] if options.may_omit_images else ["images"]
    images = {"type": "array", "items": BINARY, "minItems": 1, "description": "image files"}
    return schema | {
        "description": "Images and options as a form.",
        "properties": {"images": images, **_fields(options)},
        "required": [*required, *schema.get("required", [])],
    }


def _fields(options: type[Options]) -> dict[str, Any]:
    """Build the schemas of options for forms and queries, which have no null."""
    properties = options.model_json_schema(ref_template=REF)["properties"]
    fields = {}
    for name, field in properties.items():
        schemas = [schema for schema in field.get("anyOf", []) if schema != NULL]
        rest = {key: value for key, value in field.items() if key != "anyOf"}
        fields[name] = rest | schemas[0] if schemas else rest
    return fields


def _simplified(part: Any) -> Any:
    """Remove what makes generated clients hard to read, without changing what is valid.

    Titles repeat names. A choice of a type and null becomes a list of types. A constant of a
    response is always there, so that its value selects the type of a result.
    """
    if isinstance(part, list):
        return [_simplified(each) for each in part]
    if not isinstance(part, dict):
        return part
    rest = {
        key: _simplified(value)
        for key, value in part.items()
        if not (key == "title" and isinstance(value, str))
    }
    match rest.get("anyOf"):
        case [{"type": str(kind)} as schema, {"type": "null"}]:
            del rest["anyOf"]
            rest |= schema | {"type": [kind, "null"]}
            if "enum" in schema:
                rest["enum"] = [*schema["enum"], None]
    if rest.get("default", "") is None:
        del rest["default"]
    constant = [
        name
        for name, field in rest.get("properties", {}).items()
        if {"const", "default"} <= field.keys()
    ]
    for name in constant:
        del rest["properties"][name]["default"]
    if constant:
        rest["required"] = [*constant, *rest.get("required", [])]
    return rest
