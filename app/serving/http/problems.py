"""Maps exceptions to HTTP problem responses (RFC 9457)."""

from dataclasses import dataclass

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from app.errors import (
    BodyTooLargeError,
    BuiltInLabelError,
    ContradictingExamplesError,
    DeadlineError,
    DiskError,
    DrainingError,
    InferenceError,
    LabelExistsError,
    LabelsReadOnlyError,
    MalformedBodyError,
    MumicError,
    NoIndexError,
    NotReadyError,
    OptionError,
    OverloadedError,
    RefusedCheckpointError,
    SlowBodyError,
    TextError,
    UnauthorizedError,
    UnknownLabelError,
    UnsupportedMediaError,
    UnusableImagesError,
)
from app.serving.schemas import FailedResult, ProblemDetails, failed_result

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class ProblemKind:
    """One kind of problem.

    Attributes:
        status: the HTTP status.
        code: stable, machine-readable name.
        title: short summary, the same for every occurrence.
        specific: whether only operations that name it return it.
    """

    status: int
    code: str
    title: str
    specific: bool = False


PROBLEM_KINDS: dict[type[MumicError], ProblemKind] = {
    MalformedBodyError: ProblemKind(400, "malformed_body", "The body cannot be parsed"),
    UnauthorizedError: ProblemKind(401, "unauthorized", "A token is needed"),
    NoIndexError: ProblemKind(404, "no_index", "The server has no index of photos", specific=True),
    LabelsReadOnlyError: ProblemKind(
        403, "labels_read_only", "The labels cannot be changed", specific=True
    ),
    UnknownLabelError: ProblemKind(404, "unknown_label", "No label has this id", specific=True),
    LabelExistsError: ProblemKind(
        409, "label_exists", "Another label has this id or text", specific=True
    ),
    BuiltInLabelError: ProblemKind(
        409, "built_in_label", "The label was not added at run time", specific=True
    ),
    SlowBodyError: ProblemKind(408, "body_too_slow", "The body did not arrive in time"),
    BodyTooLargeError: ProblemKind(413, "body_too_large", "The body is too large"),
    UnsupportedMediaError: ProblemKind(
        415, "unsupported_media_type", "The content type or coding is not supported"
    ),
    OptionError: ProblemKind(422, "invalid_option", "An option is not allowed"),
    TextError: ProblemKind(422, "invalid_text", "A text cannot be used"),
    UnusableImagesError: ProblemKind(422, "unusable_images", "Images cannot be used"),
    ContradictingExamplesError: ProblemKind(
        422, "contradicting_examples", "Examples contradict each other", specific=True
    ),
    RefusedCheckpointError: ProblemKind(
        422, "checkpoint_refused", "The checkpoint is not loaded", specific=True
    ),
    OverloadedError: ProblemKind(429, "overloaded", "The queue is full"),
    DiskError: ProblemKind(500, "not_written", "A file cannot be written", specific=True),
    InferenceError: ProblemKind(500, "inference_failed", "The model failed"),
    DrainingError: ProblemKind(503, "draining", "The service is stopping"),
    NotReadyError: ProblemKind(503, "not_ready", "The model fails its health check", specific=True),
    DeadlineError: ProblemKind(504, "deadline_exceeded", "The deadline has passed"),
}
INTERNAL_ERROR = ProblemKind(500, "internal_error", "Something went wrong on our side")
FRAMEWORK_PROBLEMS = {
    404: ProblemKind(404, "not_found", "The path does not exist"),
    405: ProblemKind(405, "method_not_allowed", "The path does not allow this method"),
}
CODES = [
    kind.code for kind in (*PROBLEM_KINDS.values(), INTERNAL_ERROR, *FRAMEWORK_PROBLEMS.values())
]


def add_problem_handlers(app: FastAPI) -> None:
    """Register the exception handlers. `RequestContext` answers unexpected exceptions."""

    @app.exception_handler(MumicError)
    async def answer_mumic_error(request: Request, error: MumicError) -> Response:
        return problem_response(request, PROBLEM_KINDS[type(error)], error)

    @app.exception_handler(HTTPException)
    async def answer_framework_error(request: Request, error: HTTPException) -> Response:
        kind = FRAMEWORK_PROBLEMS.get(error.status_code, INTERNAL_ERROR)
        headers = dict(error.headers or {})
        if allowed := headers.get("Allow"):
            allowed = headers["Allow"] = _allowed_methods(allowed)
            if request.method == "OPTIONS":  # the router has no routes for it
                return Response(status_code=204, headers=headers)
        known = "GET /docs describes the API, GET /openapi.json lists all paths"
        hint = f"allowed: {allowed}" if allowed else known
        detail = f"{request.method} {request.url.path[:100]}: {error.detail}; {hint}"
        return _response(request, kind, detail, headers=headers)


def internal_problem(request: Request) -> Response:
    """Build the response to an unexpected exception, without internal details."""
    detail = "the request failed; the server's log has the reason under the request id"
    return _response(request, INTERNAL_ERROR, detail)


def problem_response(request: Request, kind: ProblemKind, error: MumicError) -> Response:
    """Build the response to a MuMIC exception."""
    headers = {}
    if isinstance(error, OverloadedError):
        headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, UnauthorizedError):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, UnsupportedMediaError) and error.accept_encoding:
        headers["Accept-Encoding"] = error.accept_encoding
    results = None
    if isinstance(error, UnusableImagesError | ContradictingExamplesError):
        results = [failed_result(id, failure) for id, failure in error.failures]
    field = error.field if isinstance(error, OptionError | LabelExistsError) else None
    return _response(request, kind, str(error), field=field, results=results, headers=headers)


def _response(
    request: Request,
    kind: ProblemKind,
    detail: str,
    *,
    field: str | None = None,
    results: list[FailedResult] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    problem = ProblemDetails(
        type=f"urn:mumic:problem:{kind.code}",
        title=kind.title,
        status=kind.status,
        detail=detail,
        code=kind.code,
        request_id=_request_id(request),
        field=field,
        results=results,
    )
    request.state.code = kind.code  # for the access log
    body = problem.model_dump_json(exclude_none=True)
    return Response(body, status_code=kind.status, media_type=MEDIA_TYPE, headers=headers)


def _allowed_methods(methods: str) -> str:
    """Add the methods that every route has to those that the router knows."""
    names = {name.strip() for name in methods.split(",")} | {"OPTIONS"}
    return ", ".join(sorted(names | ({"HEAD"} if "GET" in names else set())))


def _request_id(request: Request) -> str:
    return str(request.scope.get("state", {}).get("request_id", ""))
