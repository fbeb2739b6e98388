"""/docs works where nothing else can be reached, and its policy lets it do no more."""

import re

import httpx
import pytest


@pytest.fixture(scope="module")
def page(client: httpx.Client) -> httpx.Response:
    return client.get("/docs")


def test_all_that_it_loads_comes_from_the_same_server(
    client: httpx.Client, page: httpx.Response
) -> None:
    assert page.headers["content-type"].startswith("text/html")
    loaded = re.findall(r"""(?:src|href)="([^"]+)"|url: '([^']+)'""", page.text)
    addresses = {first or second for first, second in loaded} - {"data:,"}
    types = {}
    for address in addresses:
        assert "//" not in address
        answer = client.get(page.url.join(address))
        assert answer.status_code == 200
        types[address] = answer.headers["content-type"].partition(";")[0]
    assert types == {
        "openapi.json": "application/json",
        "docs/swagger-ui-bundle.js": "text/javascript",
        "docs/swagger-ui.css": "text/css",
    }


def test_its_policy_names_this_server_and_the_script_within_alone(page: httpx.Response) -> None:
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self' 'sha256-")
    assert "http" not in policy
    assert "unsafe-eval" not in policy
    assert page.text.count("<script>") == policy.count("'sha256-") == 1


def test_there_is_no_second_page(client: httpx.Client) -> None:
    assert client.get("/redoc").status_code == 404


def test_a_photo_can_be_tried_as_the_page_first_shows_it(client: httpx.Client) -> None:
    for path in ("/predict", "/embed", "/zero-shot"):
        operation = client.get("/openapi.json").json()["paths"][path]["post"]
        assert next(iter(operation["requestBody"]["content"])) == "image/*"
        assert not any("default" in each["schema"] for each in operation["parameters"])
