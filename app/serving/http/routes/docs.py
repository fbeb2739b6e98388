"""A page on which everything can be tried; all of it comes from this server."""

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
    """The page, and what it loads."""
    router = APIRouter(include_in_schema=False)
    # Addresses are relative, so that the page works behind a prefix as well.
    html = bytes(
        get_swagger_ui_html(
            openapi_url="openapi.json",
            title="MuMIC",
            swagger_js_url=f"docs/{SCRIPT}",
            swagger_css_url=f"docs/{STYLE}",
            swagger_favicon_url="data:,",
            swagger_ui_parameters={"validatorUrl": None},  # which would be sent the document
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
    """What the page may load and run: files of this server, and the script within it."""
    within = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in within]
    scripts = " ".join(f"'sha256-{each}'" for each in hashes)
    return (
        f"default-src 'none'; script-src 'self' {scripts}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'"
    )
