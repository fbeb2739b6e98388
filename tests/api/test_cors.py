"""Pages of allowed origins may use the API and read every response, errors included."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError

from app.core.classifier import Classifier
from app.main import create_app
from app.settings import Settings
from tests.support.engine import FailingClassifier
from tests.support.fakes import FakeTower, wait_until
from tests.support.raw_connection import answer, head
from tests.support.requests import metric, multipart, photo, raw
from tests.support.tiny import live_server

PAGE = "https://app.example"
KEY = "page-key-0123456789"
PREFLIGHT = {
    "Origin": PAGE,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type,traceparent,x-api-key,"
    "x-request-id,x-request-timeout-ms",
}


@contextmanager
def serving(
    classifier: Classifier, settings: Settings, *origins: str, **changed: object
) -> Iterator[httpx.Client]:
    allowed = {"cors_allow_origins": origins, **changed}
    whole = Settings.model_validate(settings.model_dump() | allowed)
    with (
        live_server(create_app(whole, classifier)) as url,
        httpx.Client(base_url=url, timeout=30, headers={"Origin": PAGE}) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def page(tiny_classifier: Classifier, small_settings: Settings) -> Iterator[httpx.Client]:
    with serving(tiny_classifier, small_settings, PAGE, "http://localhost:3000") as client:
        yield client


@pytest.fixture(scope="module")
def any_page(tiny_classifier: Classifier, small_settings: Settings) -> Iterator[httpx.Client]:
    with serving(tiny_classifier, small_settings, "*") as client:
        yield client


def test_preflight_allows_headers_of_api(page: httpx.Client) -> None:
    allowed = page.options("/predict", headers=PREFLIGHT)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == PAGE
    assert "POST" in allowed.headers["access-control-allow-methods"]
    names = allowed.headers["access-control-allow-headers"]
    assert set(PREFLIGHT["Access-Control-Request-Headers"].split(",")) <= set(names.split(","))
    assert "access-control-allow-credentials" not in allowed.headers
    assert "Origin" in allowed.headers["vary"]


def test_preflight_of_other_origin_is_refused(page: httpx.Client) -> None:
    refused = page.options("/predict", headers=PREFLIGHT | {"Origin": "https://other.example"})
    assert refused.status_code == 400
    assert "access-control-allow-origin" not in refused.headers


def test_preflight_is_counted(page: httpx.Client) -> None:
    sample = 'mumic_requests_total{route="unmatched",status="200"}'
    before = metric(page, sample)
    page.options("/predict", headers=PREFLIGHT)
    assert metric(page, sample) == before + 1


def test_response_names_its_origin_and_readable_headers(page: httpx.Client) -> None:
    tagged = page.post("/predict", **multipart(photo()))
    assert tagged.status_code == 200
    assert tagged.headers["access-control-allow-origin"] == PAGE
    assert "Origin" in tagged.headers["vary"]
    assert "access-control-allow-credentials" not in tagged.headers
    exposed = set(tagged.headers["access-control-expose-headers"].split(", "))
    assert {"X-Request-ID", "Retry-After", "Server-Timing"} <= exposed


def test_response_for_other_origin_names_none(page: httpx.Client) -> None:
    other = page.get("/labels", headers={"Origin": "https://other.example"})
    assert other.status_code == 200
    assert "access-control-allow-origin" not in other.headers
    assert "Origin" in other.headers["vary"]


def test_any_origin_is_allowed_without_credentials(any_page: httpx.Client) -> None:
    for tagged in (
        any_page.options("/predict", headers=PREFLIGHT),
        any_page.post("/predict", **multipart(photo())),
    ):
        assert tagged.status_code == 200
        assert tagged.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in tagged.headers


def test_errors_are_readable_by_page(page: httpx.Client) -> None:
    errors = {
        400: page.post("/predict", content=b"{", headers={"content-type": "application/json"}),
        404: page.get("/nothing"),
        405: page.delete("/predict"),
        413: page.post("/predict", **raw(bytes(9 * 2**20))),
        415: page.post("/predict", content=b"x"),
        422: page.post("/predict", **multipart(photo(), max_labels=0)),
    }
    for status, problem in errors.items():
        assert problem.status_code == status
        assert problem.headers["access-control-allow-origin"] == PAGE


def test_unexpected_error_is_readable_by_page(
    tiny_classifier: Classifier, small_settings: Settings
) -> None:
    classifier = FailingClassifier(tiny_classifier, FakeTower())
    with serving(classifier, small_settings, PAGE) as client:
        classifier.failing = True
        failed = client.get("/labels")
        classifier.failing = False
    assert (failed.status_code, failed.json()["code"]) == (500, "internal_error")
    assert failed.headers["access-control-allow-origin"] == PAGE
    assert failed.headers["x-request-id"] == failed.json()["request_id"]


def test_overload_is_readable_by_page(
    tiny_classifier: Classifier, small_settings: Settings
) -> None:
    small = {"max_queued_bytes": small_settings.max_request_bytes}
    with serving(tiny_classifier, small_settings, PAGE, **small) as client:
        host, port = client.base_url.host, client.base_url.port or 0
        with socket.create_connection((host, port), 20) as held:
            length = b"content-length: %d" % small_settings.max_request_bytes
            held.sendall(head(b"content-type: image/jpeg", length) + bytes(7 * 2**20))
            sample = "mumic_request_bytes_in_flight"
            wait_until(lambda: metric(client, sample) >= 7 * 2**20)
            refused = client.post("/predict", **raw(bytes(2 * 2**20)))
    assert refused.status_code == 429
    assert refused.headers["access-control-allow-origin"] == PAGE
    assert "Retry-After" in refused.headers["access-control-expose-headers"]


def test_preflight_needs_no_key_but_request_does(
    tiny_classifier: Classifier, small_settings: Settings, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"page:{KEY}\n", encoding="utf-8")
    with serving(tiny_classifier, small_settings, PAGE, api_keys_file=keys) as client:
        assert client.options("/labels", headers=PREFLIGHT).status_code == 200
        refused = client.get("/labels")
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == PAGE
        assert client.get("/labels", headers={"X-API-Key": KEY}).status_code == 200


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [(PAGE, PAGE.encode()), ("https://other.example", None)],
    ids=["allowed", "other"],
)
def test_too_large_head_is_readable_by_page(
    page: httpx.Client, origin: str, allowed: bytes | None
) -> None:
    lines = f"Origin: {origin}".encode(), b"x-long: " + bytes(2**16).replace(b"\0", b"x")
    with socket.create_connection((page.base_url.host, page.base_url.port or 0), 20) as connection:
        connection.sendall(head(*lines))
        received = answer(connection)
    assert received.startswith(b"HTTP/1.1 431 ")
    assert received.endswith(b"have more than 65536 bytes.")
    header = b"\r\naccess-control-allow-origin: " + (allowed or b"")
    assert (header in received) == (allowed is not None)


def test_no_origin_is_allowed_by_default(client: httpx.Client) -> None:
    plain = client.get("/labels", headers={"Origin": PAGE})
    assert not [name for name in plain.headers if name.startswith("access-control")]
    assert client.options("/predict", headers=PREFLIGHT).status_code == 204


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        ("*", "*"),
        ("https://App.example", "https://app.example"),
        ("https://app.example/", "https://app.example"),
        ("https://app.example:443", "https://app.example"),
        ("http://app.example:80", "http://app.example"),
        ("http://app.example:443", "http://app.example:443"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("chrome-extension://abcdefgh", "chrome-extension://abcdefgh"),
    ],
)
def test_origin_is_written_as_browsers_send_it(given: str, origin: str) -> None:
    assert Settings(cors_allow_origins=(given,)).cors_allow_origins == (origin,)


@pytest.mark.parametrize(
    "given", ["app.example", "https://app.example/path", "https://*.example", "null", "", "a b"]
)
def test_invalid_origin_is_refused(given: str) -> None:
    with pytest.raises(ValidationError, match="is not an origin; write it like"):
        Settings(cors_allow_origins=(given,))
