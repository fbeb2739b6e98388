"""The assembled server never fetches URLs from its own host or network."""

import socket

import httpcore2
import httpx
import pytest

from app.core.classifier import Classifier
from app.main import create_app
from app.settings import Settings
from tests.support.tiny import live_server

HERE = (
    *("127.0.0.1", "127.0.0.2", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "localhost"),
    *("0.0.0.0", "[::]", "[::1]", "[::ffff:127.0.0.1]", "[::127.0.0.1]"),
)
NEAR = (
    *("10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "169.254.1.1"),
    *("[fc00::1]", "[fe80::1]", "[::ffff:10.0.0.1]", "[64:ff9b::a00:1]", "[2002:a00:1::]"),
)
METADATA = ("169.254.169.254", "192.0.0.192", "100.100.100.200", "[fd00:ec2::254]")


def codes(classifier: Classifier, hosts: tuple[str, ...], port: int) -> dict[str, str]:
    """Return the error code per host, with http and the port allowed."""
    settings = Settings(
        allow_image_urls=True, url_allow_http=True, url_ports=(port,), url_timeout_s=20
    )
    images = [{"id": host, "url": f"http://{host}:{port}/photo.jpg"} for host in hosts]
    with (
        live_server(create_app(settings, classifier)) as address,
        httpx.Client(base_url=address, timeout=30) as client,
    ):
        answer = client.post("/predict", json={"images": images})
    assert (answer.status_code, answer.json()["code"]) == (422, "unusable_images")
    return {result["id"]: result["error"]["code"] for result in answer.json()["results"]}


def test_own_host_is_never_contacted(tiny_classifier: Classifier) -> None:
    with socket.create_server(("127.0.0.1", 0)) as inside:
        inside.setblocking(False)
        found = codes(tiny_classifier, HERE, inside.getsockname()[1])
        assert found == dict.fromkeys(HERE, "url_not_allowed")
        with pytest.raises(BlockingIOError):  # no connection was made
            inside.accept()


@pytest.mark.parametrize("hosts", [NEAR, METADATA], ids=["near", "metadata"])
def test_neighbouring_hosts_are_never_contacted(
    tiny_classifier: Classifier, monkeypatch: pytest.MonkeyPatch, hosts: tuple[str, ...]
) -> None:
    contacted: list[str] = []

    async def connect_tcp(_: object, host: str, *_rest: object) -> None:
        contacted.append(host)  # record only: a faulty fetcher must not contact real hosts
        raise httpcore2.ConnectError

    monkeypatch.setattr(httpcore2.AnyIOBackend, "connect_tcp", connect_tcp)
    assert codes(tiny_classifier, hosts, 80) == dict.fromkeys(hosts, "url_not_allowed")
    assert contacted == []
