"""A live server whose checkpoint can be reloaded."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from app.main import create_app, load_classifier
from app.settings import Settings
from tests.support.requests import multipart, photo
from tests.support.tiny import live_server

PATIENCE_S = 120  # on a busy machine
TOKEN = "token of the operator"
HEADERS = {"authorization": f"Bearer {TOKEN}"}


@contextmanager
def reloadable(directory: Path, **changed: object) -> Iterator[httpx.Client]:
    """Serve a checkpoint with an admin token, and yield a client."""
    settings = Settings.model_validate(
        {"checkpoint": directory, "device": "cpu", "precision": "fp32", "admin_token": TOKEN}
        | changed
    )
    with (
        live_server(create_app(settings, load_classifier(settings))) as url,
        httpx.Client(base_url=url, timeout=PATIENCE_S) as client,
    ):
        yield client


def scores(client: httpx.Client) -> tuple[str, list[float]]:
    """Return the version of the served checkpoint and the confidence of every label."""
    answer = client.post("/predict", **multipart(photo(), all_scores=True))
    assert answer.status_code == 200
    body = answer.json()
    labels = sorted(body["results"][0]["labels"], key=lambda label: label["id"])
    return body["model"]["version"], [label["confidence"] for label in labels]
