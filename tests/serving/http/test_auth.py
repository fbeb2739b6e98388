"""Authentication, and what the access log contains."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from app.core.classifier import Classifier
from app.errors import OptionError
from app.main import create_app
from app.serving.http import ApiKeys
from app.serving.http import auth as access
from app.serving.observability.logs import JsonFormatter, TextFormatter
from app.settings import Settings
from tests.support.requests import photo, raw
from tests.support.tiny import live_server

SHOP, BLOG = "shop-key-0123456789", "blog-key-0123456789"
METRICS = "a token of the monitor"


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    file = tmp_path / "keys"
    file.write_text(f"# who may ask\nshop:{SHOP}\n\nblog:{BLOG}\n", encoding="utf-8")
    return file


@contextmanager
def guarded(
    classifier: Classifier, settings: Settings, **changed: object
) -> Iterator[httpx.Client]:
    whole = Settings.model_validate(settings.model_dump() | changed)
    with (
        live_server(create_app(whole, classifier)) as url,
        httpx.Client(base_url=url, timeout=30) as client,
    ):
        yield client


def test_api_key_is_required_except_for_probes(
    tiny_classifier: Classifier, small_settings: Settings, keys_file: Path
) -> None:
    with guarded(tiny_classifier, small_settings, api_keys_file=keys_file) as client:
        for headers in (
            {"X-API-Key": SHOP},
            {"Authorization": f"Bearer {BLOG}"},
            {"Authorization": f"bearer {BLOG}"},
        ):
            assert client.get("/labels", headers=headers).status_code == 200
            request = raw(photo())
            request["headers"] |= headers
            assert client.post("/predict", **request).status_code == 200
        wrong: list[dict[str, str] | httpx.Headers] = [
            {},
            {"X-API-Key": ""},
            {"X-API-Key": SHOP[:-1]},
            {"X-API-Key": f"shop:{SHOP}"},
            {"Authorization": f"Basic {SHOP}"},
            httpx.Headers([(b"Authorization", b"Bearer sch\xf6n")]),
        ]
        for sent in wrong:
            for path in ("/labels", "/model"):
                answer = client.get(path, headers=sent)
                assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
            for path in ("/predict", "/embed", "/zero-shot", "/validate", "/gallery"):
                assert client.post(path, headers=sent, content=b"x").status_code == 401
        for path in ("/healthz", "/readyz", "/metrics"):
            assert client.get(path).status_code == 200


def test_keys_reload_and_invalid_file_keeps_old_keys(
    keys_file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(access, "RELOAD_CHECK_INTERVAL_S", 0)
    keys = ApiKeys(keys_file)
    assert (keys.client(SHOP), keys.client(BLOG), keys.client("")) == ("shop", "blog", None)
    keys_file.write_text(f"shop:{SHOP}-new\n", encoding="utf-8")
    assert (keys.client(SHOP), keys.client(BLOG)) == (None, None)
    assert keys.client(f"{SHOP}-new") == "shop"
    for broken in ("shop\n", "shop:short\n", f":{SHOP}\n", "# nobody\n"):
        keys_file.write_text(broken, encoding="utf-8")
        assert keys.client(f"{SHOP}-new") == "shop"
    keys_file.unlink()
    assert keys.client(f"{SHOP}-new") == "shop"
    assert "Cannot reload the API keys" in caplog.text
    assert SHOP not in caplog.text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "shop",
        "shop:short",
        "# nobody",
        f"shop: {SHOP}",
        f"shop:{SHOP} {BLOG}",
        f"shop:{SHOP}\u0451",
    ],
)
def test_key_file_without_valid_keys_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "keys"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(OptionError, match="api_keys_file"):
        ApiKeys(file)
    with pytest.raises(OptionError, match="api_keys_file"):
        ApiKeys(tmp_path / "none")


def test_metrics_token_guards_only_metrics(
    tiny_classifier: Classifier, small_settings: Settings, keys_file: Path
) -> None:
    with guarded(
        tiny_classifier, small_settings, api_keys_file=keys_file, metrics_token=METRICS
    ) as client:
        assert client.get("/metrics").status_code == 401
        assert client.get("/metrics", headers={"X-API-Key": SHOP}).status_code == 401
        opened = client.get("/metrics", headers={"Authorization": f"Bearer {METRICS}"})
        assert opened.status_code == 200
        labels = client.get("/labels", headers={"Authorization": f"Bearer {METRICS}"})
        assert labels.status_code == 401


def test_access_log_has_client_and_id_but_no_key(
    tiny_classifier: Classifier,
    small_settings: Settings,
    keys_file: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "mumic.access")
    with guarded(tiny_classifier, small_settings, api_keys_file=keys_file) as client:
        request = raw(photo())
        request["headers"] |= {"X-API-Key": SHOP, "X-Request-ID": "order-66"}
        assert client.post("/predict", **request).status_code == 200
        assert client.get("/labels").status_code == 401
    first, second = (record for record in caplog.records if record.name == "mumic.access")
    line = json.loads(JsonFormatter().format(first))
    assert line["message"].startswith("POST /predict 200 ")
    names = ("logger", "level", "method", "route", "status", "request_id", "client", "code")
    assert [line[name] for name in names] == [
        "mumic.access",
        "info",
        "POST",
        "/predict",
        200,
        "order-66",
        "shop",
        "-",
    ]
    assert line["duration_ms"] > 0
    refused = json.loads(JsonFormatter().format(second))
    assert (refused["client"], refused["code"]) == ("-", "unauthorized")
    assert second.getMessage().endswith(" - unauthorized")
    assert SHOP not in caplog.text


def test_json_log_writes_exception_on_one_line() -> None:
    error = ValueError("two\nlines")
    exc_info = (type(error), error, None)
    record = logging.LogRecord("mumic", logging.ERROR, __file__, 1, 'it "failed"', (), exc_info)
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert json.loads(line)["message"] == 'it "failed"'
    assert "ValueError" in json.loads(line)["exception"]


@pytest.mark.parametrize("sent", ["a\r\nb", "a\u2028b", "a\x1b[2Kb", "a\x85b", "a\x00b"])
def test_text_log_escapes_control_characters(sent: str) -> None:
    record = logging.LogRecord("mumic", logging.WARNING, __file__, 1, "no %s", (sent,), None)
    line = TextFormatter().format(record)
    assert line.isprintable()
    assert line.endswith("b") and " WARNING no a\\" in line
    assert record.getMessage() == f"no {sent}"


def test_openapi_lists_security_schemes(
    tiny_classifier: Classifier, small_settings: Settings, keys_file: Path
) -> None:
    tokens = {"metrics_token": METRICS, "admin_token": METRICS}
    with guarded(tiny_classifier, small_settings, api_keys_file=keys_file, **tokens) as client:
        document = client.get("/openapi.json").json()
    schemes = document["components"]["securitySchemes"]
    assert schemes["ApiKey"] == {"type": "apiKey", "in": "header", "name": "X-API-Key"}
    for path, method, names in (
        ("/predict", "post", ["ApiKey", "ApiKeyAsBearer"]),
        ("/labels", "get", ["ApiKey", "ApiKeyAsBearer"]),
        ("/metrics", "get", ["MetricsToken"]),
        ("/admin/reload", "post", ["AdminToken"]),
    ):
        operation = document["paths"][path][method]
        assert operation["security"] == [{name: []} for name in names]
        assert "401" in operation["responses"]
    assert "security" not in document["paths"]["/healthz"]["get"]


def test_responses_have_security_headers_and_no_cors(client: httpx.Client) -> None:
    for answer in (client.get("/healthz"), client.get("/nothing"), client.post("/predict")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert "access-control-allow-origin" not in answer.headers
    preflight = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
    assert (
        "access-control-allow-origin" not in client.options("/predict", headers=preflight).headers
    )
