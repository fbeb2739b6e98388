"""HEAD answers as GET without a body, OPTIONS lists methods, and others get 405."""

import socket

import httpx
import pytest

from tests.support.raw_connection import head
from tests.support.requests import metric

READ_PATHS = (
    "/labels",
    "/model",
    "/healthz",
    "/readyz",
    "/metrics",
    "/docs",
    "/docs/swagger-ui.css",
    "/openapi.json",
)
IMAGE_PATHS = ("/predict", "/embed", "/zero-shot", "/validate", "/gallery")
VARYING = ("date", "x-request-id", "last-modified")
READ, POST = "GET, HEAD, OPTIONS", "OPTIONS, POST"


@pytest.mark.parametrize("coding", ["identity", "gzip"])
@pytest.mark.parametrize("path", READ_PATHS)
def test_head_has_headers_of_get(client: httpx.Client, path: str, coding: str) -> None:
    headers = {"accept-encoding": coding}
    get, without_body = (client.request(m, path, headers=headers) for m in ("GET", "HEAD"))
    assert (without_body.status_code, without_body.content) == (200, b"")
    varying = (*VARYING, "content-length") if path == "/metrics" else VARYING
    for name in get.headers.keys() | without_body.headers.keys():
        if name not in varying and name != "transfer-encoding":
            assert without_body.headers.get(name) == get.headers.get(name), name
    if coding == "identity":
        assert int(without_body.headers["content-length"]) > 0


def test_head_sends_nothing_after_its_headers(client: httpx.Client) -> None:
    address = client.base_url.host, client.base_url.port or 0
    with socket.create_connection(address, 20) as connection:
        connection.sendall(head(b"connection: close", target=b"HEAD /labels"))
        received = b""
        while data := connection.recv(2**16):
            received += data
    assert received.startswith(b"HTTP/1.1 200 OK")
    assert received.endswith(b"\r\n\r\n") and received.count(b"\r\n\r\n") == 1


def test_head_leaves_connection_usable(client: httpx.Client) -> None:
    address = client.base_url.host, client.base_url.port or 0
    with socket.create_connection(address, 20) as connection:
        connection.sendall(head(target=b"HEAD /labels") + head(target=b"GET /healthz"))
        received = b""
        while b"ok" not in received:
            received += connection.recv(2**16)
    assert received.count(b"HTTP/1.1 200 OK") == 2
    assert received.endswith(b'{"status":"ok"}')


def test_head_of_unknown_path_is_404_without_body(client: httpx.Client) -> None:
    missing = client.head("/nothing")
    assert (missing.status_code, missing.content) == (404, b"")
    assert missing.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("path", "allowed"),
    [*((path, READ) for path in READ_PATHS), *((path, POST) for path in IMAGE_PATHS)],
)
def test_options_lists_allowed_methods(client: httpx.Client, path: str, allowed: str) -> None:
    options = client.options(path)
    assert (options.status_code, options.content) == (204, b"")
    assert options.headers["allow"] == allowed
    refused = client.request("DELETE", path)
    assert (refused.status_code, refused.headers["allow"]) == (405, allowed)
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["code"] == "method_not_allowed"
    assert f"allowed: {allowed}" in refused.json()["detail"]


def test_options_of_unknown_path_is_404(client: httpx.Client) -> None:
    assert client.options("/nothing").json()["code"] == "not_found"


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("OPTIONS", 204), ("PUT", 405)])
def test_other_methods_are_counted_by_route(client: httpx.Client, method: str, status: int) -> None:
    sample = f'mumic_requests_total{{route="/labels",status="{status}"}}'
    before = metric(client, sample)
    client.request(method, "/labels")
    assert metric(client, sample) == before + 1
