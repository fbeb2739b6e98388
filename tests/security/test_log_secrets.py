"""Log lines of all kinds of requests contain no key, token or photo."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from app.core.classifier import Classifier
from app.main import create_app
from app.serving.observability import log_to_stderr
from app.serving.observability.logs import LogFormat
from app.settings import Settings
from tests.support.engine import FailingClassifier
from tests.support.fakes import GOOD, PATIENCE_S, RAISES, FakeTower
from tests.support.photos import encoded
from tests.support.requests import base64_text, json_body, multipart, raw
from tests.support.tiny import live_server

KEY, MISTYPED_KEY = "key-of-a-shop-0123", "key-of-a-shop-0132"
ADMIN, MONITOR, WRONG = "token-of-an-admin", "token-of-a-monitor", "token-of-a-thief"
ON_THE_PHOTO = b"a face on a photo."  # 18 bytes from the sixth on: base64 keeps it contiguous
SIGNED = "signature=0123456789"
SECRETS = [
    *(KEY, MISTYPED_KEY, ADMIN, MONITOR, WRONG, SIGNED),
    *(ON_THE_PHOTO.decode(), base64_text(ON_THE_PHOTO), ON_THE_PHOTO.hex()),
]


def marked(grey: int) -> bytes:
    """A JPEG of one grey value; the secret is a comment at its start."""
    whole = encoded(Image.new("RGB", (16, 16), (grey,) * 3), "JPEG", quality=100)
    comment = b"\xff\xfe" + (2 + len(ON_THE_PHOTO)).to_bytes(2, "big") + ON_THE_PHOTO
    return whole[:2] + comment + whole[2:]


@contextmanager
def logging_to_stderr(log_format: LogFormat) -> Iterator[None]:
    """Log like `mumic serve`, instead of to pytest's handlers."""
    ours, root = logging.getLogger("mumic"), logging.getLogger()
    level, handlers = ours.level, root.handlers
    root.handlers = []
    try:
        log_to_stderr(log_format)
        yield
    finally:
        root.handlers = handlers
        ours.setLevel(level)


def send_all_kinds(client: httpx.Client, classifier: FailingClassifier) -> list[int]:
    """Send each kind of request; return the statuses of the answers."""
    good, fails = marked(GOOD), marked(RAISES)
    url = f"https://127.0.0.1/photo.jpg?{SIGNED}"
    requests: list[dict[str, Any]] = [
        *(form(good) for form in (raw, multipart, json_body)),
        *(form(good[:60]) for form in (raw, multipart, json_body)),
        *(form(ON_THE_PHOTO) for form in (raw, multipart, json_body)),
        {"json": {"images": [{"data": base64_text(good) + "!"}]}},
        {"json": {"images": [{"data": base64_text(good), "url": url}]}},
        {"json": {"images": [{"url": url}]}},
        {"json": {"images": base64_text(good)}},
        *(
            {"content": b'{"images": "' + ON_THE_PHOTO, "headers": {"content-type": kind}}
            for kind in ("text/plain", "application/json")
        ),
        *(form(fails) for form in (raw, multipart, json_body)),
    ]

    def send(request: dict[str, Any], key: str) -> int:
        headers = request.get("headers", {}) | {"X-API-Key": key}
        return client.post("/predict", **request | {"headers": headers}).status_code

    statuses = [send(request, KEY) for request in requests]
    classifier.failing = True
    statuses.append(send(raw(good), KEY))
    classifier.failing = False
    statuses += [send(request, MISTYPED_KEY) for request in requests[:3]]
    for path in ("/metrics", "/labels", "/nothing", "/labels"):
        for sent in (KEY, MISTYPED_KEY, ADMIN, MONITOR, WRONG):
            answer = client.get(path, headers={"Authorization": f"Bearer {sent}"})
            statuses.append(answer.status_code)
    for sent in (ADMIN, WRONG):
        headers = {"Authorization": f"Bearer {sent}"}
        nowhere = {"checkpoint": "/nowhere"}
        statuses.append(client.post("/admin/reload", headers=headers, params=nowhere).status_code)
    return statuses


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_key_token_or_photo_is_logged(
    tiny_classifier: Classifier,
    small_settings: Settings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    log_format: LogFormat,
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"shop:{KEY}\n", encoding="utf-8")
    changed = {"api_keys_file": keys, "admin_token": ADMIN, "metrics_token": MONITOR}
    settings = Settings.model_validate(
        small_settings.model_dump() | changed | {"allow_image_urls": True}
    )
    classifier = FailingClassifier(tiny_classifier, FakeTower())
    with (
        logging_to_stderr(log_format),
        live_server(create_app(settings, classifier)) as url,
        httpx.Client(base_url=url, timeout=PATIENCE_S) as client,
    ):
        statuses = send_all_kinds(client, classifier)
    assert set(statuses) == {200, 400, 401, 404, 415, 422, 500}
    logged = "".join(capsys.readouterr())
    if log_format == "json":
        lines = [json.loads(line) for line in logged.splitlines()]
        assert [line["status"] for line in lines if "status" in line] == statuses
    for expected in ("POST /predict 200 ", " shop", "The model failed on a batch", "RuntimeError"):
        assert expected in logged
    assert "checkpoint /nowhere is not loaded" in logged
    assert [secret for secret in SECRETS if secret in logged] == []
