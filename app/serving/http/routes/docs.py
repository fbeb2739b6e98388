"""GET /docs: Swagger UI, served without external resources."""

import base64
import hashlib
import re
from pathlib import Path

import fastapi_offline
from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse

FILES = Path(fastapi_offline.__path__[0], "static")
SCRIPT, STYLE = "swagger-ui-bundle.js", "swagger-ui.css"


def docs_router() -> APIRouter:
    """Build the router of /docs and its static files."""
    router = APIRouter(include_in_schema=False)
    # URLs are relative, so that the page works behind a path prefix.
    html = bytes(
        get_swagger_ui_html(
            openapi_url="openapi.json",
            title="MuMIC",
            swagger_js_url=f"docs/{SCRIPT}",
            swagger_css_url=f"docs/{STYLE}",
            swagger_favicon_url="data:,",
            swagger_ui_parameters={"validatorUrl": None},  # an external service
        ).body
    ).decode()
    policy = {"Content-Security-Policy": _policy(html)}

    @router.get("/docs")
    async def docs() -> HTMLResponse:
        return HTMLResponse(html, headers=policy)

    @router.get(f"/docs/{SCRIPT}")
    async def script() -> FileResponse:
        return FileResponse(FILES / SCRIPT)

    @router.get(f"/docs/{STYLE}")
    async def style() -> FileResponse:
        return FileResponse(FILES / STYLE)

    return router


def _policy(html: str) -> str:
    """Build a Content-Security-Policy: files of this server and the inline scripts."""
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digests = [hashlib.sha256(script.encode()).digest() for script in scripts]
    hashes = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src 'self' {hashes}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'"
    )
