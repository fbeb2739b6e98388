"""GET /: the page to try the service on, and its files below /page."""

from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles

from app.settings import Settings

FOLDER = Path(__file__).parents[2] / "page"
# Only files of this server, and previews of the visitor's photos.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# The files of one version belong together: browsers ask whether theirs is current.
CACHE = {"Cache-Control": "no-cache"}


def page_router(settings: Settings) -> APIRouter:
    """Build the router of the page. It needs no API key; its requests to the API do.

    The page's addresses are relative, so that it works behind a path prefix.
    """
    router = APIRouter(include_in_schema=False)
    files = StaticFiles(directory=FOLDER)
    limits = {
        "max_images_per_request": settings.max_images_per_request,
        "max_image_bytes": settings.max_image_bytes,
        "max_request_bytes": settings.max_request_bytes,
        "request_timeout_s": settings.request_timeout_s,
    }

    async def respond(path: str, request: Request) -> Response:
        response = await files.get_response(path, request.scope)
        response.headers.update(CACHE)
        return response

    @router.get("/")
    async def page(request: Request) -> Response:
        response = await respond("index.html", request)
        response.headers["Content-Security-Policy"] = POLICY
        return response

    @router.get("/page/limits.json")
    async def page_limits() -> JSONResponse:
        return JSONResponse(limits, headers=CACHE)

    @router.get("/page/{path:path}")
    async def page_file(path: str, request: Request) -> Response:
        return await respond(path, request)

    return router
