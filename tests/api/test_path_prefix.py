"""The API below a path prefix, whether or not a proxy removes it."""

from collections.abc import Iterator

import httpx
import pytest
from pydantic import ValidationError

from app.core.classifier import Classifier
from app.main import create_app
from app.settings import Settings
from tests.support.requests import metric, multipart, photo
from tests.support.tiny import live_server


@pytest.fixture(scope="module")
def prefixed(tiny_classifier: Classifier, small_settings: Settings) -> Iterator[httpx.Client]:
    settings = small_settings.model_copy(update={"root_path": "/ml/mumic"})
    with (
        live_server(create_app(settings, tiny_classifier)) as url,
        httpx.Client(base_url=url, timeout=30) as client,
    ):
        yield client


@pytest.mark.parametrize("prefix", ["", "/ml/mumic"], ids=["removed", "kept"])
def test_routes_answer_with_and_without_prefix(prefixed: httpx.Client, prefix: str) -> None:
    assert prefixed.get(f"{prefix}/healthz").json() == {"status": "ok"}
    assert prefixed.head(f"{prefix}/readyz").status_code == 200
    assert prefixed.options(f"{prefix}/predict").headers["allow"] == "OPTIONS, POST"
    assert prefixed.post(f"{prefix}/predict", **multipart(photo())).status_code == 200
    assert prefixed.get(f"{prefix}/docs/swagger-ui.css").status_code == 200


@pytest.mark.parametrize("path", ["/ml/mumic/openapi.json", "/openapi.json"])
def test_server_url_of_document_has_prefix(
    prefixed: httpx.Client, client: httpx.Client, path: str
) -> None:
    document = prefixed.get(path).json()
    assert document.pop("servers") == [{"url": "/ml/mumic"}]
    without_prefix = client.get("/openapi.json").json()
    assert without_prefix.pop("servers") == [{"url": "."}]
    assert document == without_prefix


@pytest.mark.parametrize("path", ["/ml/mumic", "/ml/mumicry/labels", "/ml/labels"])
def test_path_that_only_resembles_prefix_is_404(prefixed: httpx.Client, path: str) -> None:
    assert prefixed.get(path).json()["code"] == "not_found"


def test_prefix_is_not_in_metric_labels(prefixed: httpx.Client) -> None:
    sample = 'mumic_requests_total{route="/labels",status="200"}'
    before = metric(prefixed, sample)
    prefixed.get("/ml/mumic/labels")
    prefixed.get("/labels")
    assert metric(prefixed, sample) == before + 2
    assert "/ml/mumic" not in prefixed.get("/metrics").text


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("", ""),
        ("/", ""),
        ("/mumic", "/mumic"),
        ("/mumic/", "/mumic"),
        ("mumic", "/mumic"),
        ("/a-b/v1.0/~x_y", "/a-b/v1.0/~x_y"),
    ],
)
def test_prefix_is_normalised(given: str, path: str) -> None:
    assert Settings(root_path=given).root_path == path


@pytest.mark.parametrize(
    "given", ["https://host/mumic", "/a b", "/a//b", "/../a", "/a/.", "/a?b", "/a#b", "/%61", "/é"]
)
def test_invalid_prefix_is_refused(given: str) -> None:
    with pytest.raises(ValidationError, match="must be a path of letters"):
        Settings(root_path=given)
