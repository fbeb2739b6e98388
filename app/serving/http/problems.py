"""The one place that turns errors into HTTP answers (RFC 9457)."""

from dataclasses import dataclass

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from app.errors import (
    BodyTooLargeError,
    DeadlineError,
    DrainingError,
    InferenceError,
    MalformedBodyError,
    MumicError,
    NotReadyError,
    OptionError,
    OverloadedError,
    RefusedCheckpointError,
    SlowBodyError,
    TextError,
    UnauthorizedError,
    UnsupportedMediaError,
    UnusableImagesError,
)
from app.serving.schemas import FailedResult, ProblemDetails, failed_result

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of problem.

    Attributes:
        status: the HTTP status.
        code: the stable name, for programs.
        title: the same for people, whatever the occasion.
        administrative: whether only operators and their probes meet it.
    """

    status: int
    code: str
    title: str
    administrative: bool = False


KINDS: dict[type[MumicError], Kind] = {
    MalformedBodyError: Kind(400, "malformed_body", "The body cannot be parsed"),
    UnauthorizedError: Kind(401, "unauthorized", "A token is needed"),
    SlowBodyError: Kind(408, "body_too_slow", "The body did not arrive in time"),
    BodyTooLargeError: Kind(413, "body_too_large", "The body is too large"),
    UnsupportedMediaError: Kind(415, "unsupported_media_type", "This content type is not read"),
    OptionError: Kind(422, "invalid_option", "An option is not allowed"),
    TextError: Kind(422, "invalid_text", "A text cannot be used"),
    UnusableImagesError: Kind(422, "unusable_images", "Images cannot be used"),
    RefusedCheckpointError: Kind(
        422, "checkpoint_refused", "The checkpoint is not loaded", administrative=True
    ),
    OverloadedError: Kind(429, "overloaded", "The queue is full"),
    InferenceError: Kind(500, "inference_failed", "The model failed"),
    DrainingError: Kind(503, "draining", "The service is stopping"),
    NotReadyError: Kind(
        503, "not_ready", "The model does not answer as it should", administrative=True
    ),
    DeadlineError: Kind(504, "deadline_exceeded", "The time is up"),
}
INTERNAL = Kind(500, "internal_error", "Something went wrong on our side")
FRAMEWORK = {
    404: Kind(404, "not_found", "There is no such address"),
    405: Kind(405, "method_not_allowed", "The address does not take this method"),
}
CODES = [kind.code for kind in (*KINDS.values(), INTERNAL, *FRAMEWORK.values())]


def add_problem_handlers(app: FastAPI) -> None:
    """Answer our errors and the framework's as problems; `RequestContext` answers the rest."""

    @app.exception_handler(MumicError)
    async def answer_ours(request: Request, error: MumicError) -> Response:
        return problem_response(request, KINDS[type(error)], error)

    @app.exception_handler(HTTPException)
    async def answer_framework(request: Request, error: HTTPException) -> Response:
        kind = FRAMEWORK.get(error.status_code, INTERNAL)
        headers = dict(error.headers or {})
        allowed = headers.get("Allow")
        hint = f"it takes {allowed}" if allowed else "GET /openapi.json lists what there is"
        detail = f"{request.method} {request.url.path[:100]}: {error.detail}; {hint}"
        return _response(request, kind, detail, headers=headers)


def internal_problem(request: Request) -> Response:
    """The answer to an error that nobody foresaw; it says nothing of the inside."""
    detail = "the request was not answered; its id finds the reason in the server's log"
    return _response(request, INTERNAL, detail)


def problem_response(request: Request, kind: Kind, error: MumicError) -> Response:
    """One of our errors as an answer."""
    headers = {}
    if isinstance(error, OverloadedError):
        headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, UnauthorizedError):
        headers["WWW-Authenticate"] = "Bearer"
    results = None
    if isinstance(error, UnusableImagesError):
        results = [failed_result(id, failure) for id, failure in error.failures]
    field = error.field if isinstance(error, OptionError) else None
    return _response(request, kind, str(error), field=field, results=results, headers=headers)


def _response(
    request: Request,
    kind: Kind,
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
    request.state.code = kind.code  # for the log
    body = problem.model_dump_json(exclude_none=True)
    return Response(body, status_code=kind.status, media_type=MEDIA_TYPE, headers=headers)


def _request_id(request: Request) -> str:
    return str(request.scope.get("state", {}).get("request_id", ""))
