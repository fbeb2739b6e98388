"""The page at /: where it is served, with which headers, and that it loads only its own files."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError

from app.core.classifier import Classifier
from app.main import create_app
from app.settings import Settings
from tests.support.imports import ROOT

FOLDER = ROOT / "app" / "serving" / "page"
FILES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.*"))
TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".jpg": "image/jpeg",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
POLICY = {
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' blob: data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
}


@pytest.fixture(scope="module")
def without_page(tiny_classifier: Classifier, small_settings: Settings) -> Iterator[TestClient]:
    settings = small_settings.model_copy(update={"ui": False})
    with TestClient(create_app(settings, tiny_classifier)) as session:
        yield session


def test_page_is_html_with_strict_policy(client: httpx.Client) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert set(page.headers["content-security-policy"].split("; ")) == POLICY


def test_page_has_no_inline_script_or_style(client: httpx.Client) -> None:
    html = client.get("/").text
    assert re.findall(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=", html) == []


def test_addresses_of_page_are_relative(client: httpx.Client) -> None:
    addresses = re.findall(r'(?:src|href)="([^"]+)"', client.get("/").text)
    assert {"docs", "page/main.js", "page/page.css"} <= set(addresses)
    for address in addresses:
        assert not address.startswith("/")
        assert "//" not in address
        assert client.get(f"/{address}").status_code == 200


@pytest.mark.parametrize("name", FILES)
def test_file_has_type_and_is_revalidated(client: httpx.Client, name: str) -> None:
    answer = client.get(f"/page/{name}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].partition(";")[0] == TYPES[Path(name).suffix]
    assert answer.headers["cache-control"] == "no-cache"
    same = client.get(f"/page/{name}", headers={"If-None-Match": answer.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")


def test_head_of_page_has_no_body(client: httpx.Client) -> None:
    head = client.head("/", headers={"Accept-Encoding": "identity"})
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str((FOLDER / "index.html").stat().st_size)


def test_limits_are_those_of_settings(client: httpx.Client, small_settings: Settings) -> None:
    limits = client.get("/page/limits.json").json()
    assert len(limits) == 4
    for name, value in limits.items():
        assert value == getattr(small_settings, name)


@pytest.mark.parametrize("path", ["x.js", "samples", "%2e%2e/http/auth.py", "..%2fsettings.py"])
def test_other_path_below_page_is_404(client: httpx.Client, path: str) -> None:
    assert client.get(f"/page/{path}").json()["code"] == "not_found"


@pytest.mark.parametrize("path", ["/", "/page/main.js", "/page/limits.json"])
def test_disabled_page_is_404(without_page: TestClient, path: str) -> None:
    answer = without_page.get(path)
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"


def test_page_needs_no_api_key(
    tiny_classifier: Classifier, small_settings: Settings, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text("page:page-key-0123456789\n", encoding="utf-8")
    settings = small_settings.model_copy(update={"api_keys_file": keys})
    with TestClient(create_app(settings, tiny_classifier)) as session:
        assert session.get("/").status_code == 200
        assert session.get("/page/main.js").status_code == 200
        assert session.get("/labels").status_code == 401


def test_page_is_served_below_kept_prefix(
    tiny_classifier: Classifier, small_settings: Settings
) -> None:
    settings = small_settings.model_copy(update={"root_path": "/ml/mumic"})
    with TestClient(create_app(settings, tiny_classifier)) as session:
        assert session.get("/ml/mumic/").headers["content-type"].startswith("text/html")
        assert session.get("/ml/mumic/page/main.js").status_code == 200


@pytest.mark.parametrize(
    ("host", "ui", "served"),
    [
        ("127.0.0.1", None, True),
        ("127.1.2.3", None, True),
        ("localhost", None, True),
        ("::1", None, True),
        ("0.0.0.0", None, False),
        ("::", None, False),
        ("192.0.2.7", None, False),
        ("photos.example", None, False),
        ("0.0.0.0", "true", True),
        ("127.0.0.1", "false", False),
    ],
)
def test_page_is_served_on_loopback_by_default(
    monkeypatch: pytest.MonkeyPatch, host: str, ui: str | None, served: bool
) -> None:
    monkeypatch.setenv("MUMIC_HOST", host)
    if ui is not None:
        monkeypatch.setenv("MUMIC_UI", ui)
    assert Settings().serves_page is served


def test_invalid_ui_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUMIC_UI", "maybe")
    with pytest.raises(ValidationError, match="valid boolean"):
        Settings()


def test_page_is_not_in_api_document(client: httpx.Client) -> None:
    assert not [path for path in client.get("/openapi.json").json()["paths"] if "page" in path]
    assert "/" not in client.get("/openapi.json").json()["paths"]


def test_every_file_of_page_is_packaged() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["app"]
    packaged = {path for pattern in patterns for path in (ROOT / "app").glob(pattern)}
    assert {path for path in FOLDER.rglob("*") if path.is_file()} <= packaged
