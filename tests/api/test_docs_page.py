"""/docs works without internet access, and its Content-Security-Policy allows nothing else."""

import re

import httpx
import pytest


@pytest.fixture(scope="module")
def page(client: httpx.Client) -> httpx.Response:
    return client.get("/docs")


def test_page_loads_only_from_same_server(client: httpx.Client, page: httpx.Response) -> None:
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


def test_policy_allows_only_own_files_and_inline_script(page: httpx.Response) -> None:
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self' 'sha256-")
    assert "http" not in policy
    assert "unsafe-eval" not in policy
    assert page.text.count("<script>") == policy.count("'sha256-") == 1


def test_redoc_does_not_exist(client: httpx.Client) -> None:
    assert client.get("/redoc").status_code == 404


@pytest.mark.parametrize("path", ["/predict", "/embed", "/zero-shot", "/validate", "/gallery"])
def test_preselected_example_of_page_succeeds(client: httpx.Client, path: str) -> None:
    operation = client.get("/openapi.json").json()["paths"][path]["post"]
    content = operation["requestBody"]["content"]
    assert next(iter(content)) == "application/json"
    answer = client.post(path, json=content["application/json"]["example"])
    assert answer.status_code == 200
    assert [result["status"] for result in answer.json()["results"]] == ["ok"]


@pytest.mark.parametrize("path", ["/predict", "/embed", "/zero-shot", "/validate", "/gallery"])
def test_page_sends_no_query_by_default(client: httpx.Client, path: str) -> None:
    operation = client.get("/openapi.json").json()["paths"][path]["post"]
    for parameter in operation["parameters"]:
        assert not {"default", "example", "examples"} & (parameter | parameter["schema"]).keys()
