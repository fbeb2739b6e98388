"""Only public URLs are fetched, and each known SSRF technique is refused.

127.0.0.2 stands for the public internet; every other address is private.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from app.core.classifier import Classifier
from app.errors import ImageError, OverloadedError
from app.main import create_app
from app.serving.request import Fetcher
from app.serving.request.url_fetcher import is_public
from app.settings import Settings
from tests.support.fakes import PATIENCE_S, ManualClockLoop, advance_clock, until
from tests.support.requests import photo
from tests.support.site import PUBLIC, Site, running_site
from tests.support.tiny import live_server
from tests.support.url_fetcher import fetcher


@pytest.fixture(scope="module")
def site() -> Iterator[type[Site]]:
    with running_site() as kind:
        yield kind


def fetched(site: type[Site], url: str, **changed: Any) -> bytes:
    url = url.replace("PORT", str(site.port))
    return asyncio.run(fetcher(site, **changed).fetch(url, lambda _: None))


def code_of(site: type[Site], url: str, **changed: Any) -> str:
    with pytest.raises(ImageError) as refusal:
        fetched(site, url, **changed)
    assert "secret" not in refusal.value.message
    return refusal.value.code


@pytest.mark.parametrize(
    "url",
    [
        "http://photos.example:PORT/photo.jpg",
        "http://photos.example:PORT/photo.jpg?size=large&x=%20",
        "http://PHOTOS.example.:PORT/photo.jpg#fragment",
        "http://photos.example:PORT/redirect?/photo.jpg",
        "http://photos.example:PORT/redirect?http://other.example:PORT/photo.jpg",
    ],
)
def test_public_url_is_fetched(site: type[Site], url: str) -> None:
    assert fetched(site, url) == photo()


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://inside.example:PORT/photo.jpg", "url_not_allowed"),
        ("http://both.example:PORT/photo.jpg", "url_not_allowed"),
        ("http://nowhere.example:PORT/photo.jpg", "url_not_allowed"),
        ("http://127.0.0.1:PORT/photo.jpg", "url_not_allowed"),
        ("http://[::1]:PORT/photo.jpg", "url_not_allowed"),
        ("http://[::ffff:127.0.0.2]:PORT/photo.jpg", "url_not_allowed"),
        ("http://photos.example:PORT@inside.example:PORT/photo.jpg", "url_not_allowed"),
        ("http://user:password@photos.example:PORT/photo.jpg", "url_not_allowed"),
        ("http://photos.example:PORT\\@inside.example/photo.jpg", "url_not_allowed"),
        ("http://photos.example:22/photo.jpg", "url_not_allowed"),
        ("http://photos.example:99999/photo.jpg", "url_not_allowed"),
        ("http://photos.example:PORT/photo.jpg\r\nX-Header: 1", "url_not_allowed"),
        ("http://photos.example:PORT/ph oto.jpg", "url_not_allowed"),
        ("http://phot\u00f6s.example:PORT/photo.jpg", "url_not_allowed"),
        ("http:///photo.jpg", "url_not_allowed"),
        ("http://[photos.example/photo.jpg", "url_not_allowed"),
        ("photos.example/photo.jpg", "url_not_allowed"),
        ("file:///etc/passwd", "url_not_allowed"),
        ("gopher://photos.example:PORT/x", "url_not_allowed"),
        ("ftp://photos.example/photo.jpg", "url_not_allowed"),
        ("data:image/png;base64,AAAA", "url_not_allowed"),
        ("http://photos.example:PORT/" + "x" * 3000, "url_not_allowed"),
        ("", "url_not_allowed"),
        ("http://photos.example:PORT/redirect?http://inside.example:PORT/", "url_not_allowed"),
        ("http://photos.example:PORT/redirect?http://127.0.0.1:PORT/", "url_not_allowed"),
        ("http://photos.example:PORT/redirect?//inside.example:PORT/", "url_not_allowed"),
        ("http://photos.example:PORT/redirect?file:///etc/passwd", "url_not_allowed"),
        ("http://photos.example:PORT/redirect?http://photos.example:22/", "url_not_allowed"),
        ("http://photos.example:PORT/redirect?http://[", "url_failed"),
        ("http://photos.example:PORT/redirect?//[x]/", "url_failed"),
        ("http://photos.example:PORT/redirect?http://a]b/", "url_failed"),
        ("http://photos.example:PORT/loop", "url_failed"),
        ("http://photos.example:PORT/nowhere", "url_failed"),
        ("http://photos.example:PORT/missing", "url_failed"),
        ("http://photos.example:PORT/zipped", "url_failed"),
        ("http://photos.example:PORT/garbage", "url_failed"),
        ("http://photos.example:PORT/large", "too_many_bytes"),
        ("http://photos.example:PORT/endless", "too_many_bytes"),
        ("http://photos.example:PORT/slow", "url_failed"),
    ],
)
def test_unsafe_url_is_refused(site: type[Site], url: str, code: str) -> None:
    seen_before = len(site.seen)
    timeout_s = 0.2 if url.endswith("/slow") else 20  # only /slow reaches its timeout
    assert code_of(site, url, url_timeout_s=timeout_s) == code
    inside = [path for path in site.seen[seen_before:] if path in ("/", "/photo.jpg")]
    assert not inside


def test_schemes_and_host_lists_are_enforced(site: type[Site]) -> None:
    url = "http://photos.example:PORT/photo.jpg"
    assert code_of(site, url, url_allow_http=False) == "url_not_allowed"
    assert code_of(site, url, url_deny_hosts=("example",)) == "url_not_allowed"
    assert code_of(site, url, url_allow_hosts=("other.example",)) == "url_not_allowed"
    assert code_of(site, url, url_allow_hosts=("hotos.example",)) == "url_not_allowed"
    assert fetched(site, url, url_allow_hosts=("example",)) == photo()
    assert fetched(site, url, url_deny_hosts=("hotos.example",)) == photo()
    redirected = "http://other.example:PORT/redirect?http://photos.example:PORT/photo.jpg"
    assert code_of(site, redirected, url_allow_hosts=("other.example",)) == "url_not_allowed"


def test_host_lists_are_normalised_and_validated(site: type[Site]) -> None:
    url = "http://photos.example:PORT/photo.jpg"
    lists = Settings(url_deny_hosts=("Other.EXAMPLE.",), url_allow_hosts=("Photos.Example.",))
    given = lists.model_dump(include={"url_deny_hosts", "url_allow_hosts"})
    assert fetched(site, url, **given) == photo()
    denied = {"url_deny_hosts": given["url_allow_hosts"]}
    assert code_of(site, url, **denied) == "url_not_allowed"
    for name in ("", ".", ".example", "*.example", "https://photos.example", "photos.example:80"):
        with pytest.raises(ValueError, match="is not a host name"):
            Settings(url_deny_hosts=(name,))
    assert Settings(url_deny_hosts=("2606:2800::1", "8.8.8.8", "a_b")).url_deny_hosts


def test_ipv6_host_header_has_brackets(site: type[Site]) -> None:
    assert fetched(site, "http://[2606:2800:220:1::1]:PORT/photo.jpg") == photo()
    assert site.hosts[-1] == f"[2606:2800:220:1::1]:{site.port}"


def test_host_is_resolved_once_and_checked_address_is_used(site: type[Site]) -> None:
    answers = iter([[PUBLIC], ["127.0.0.1"]])

    async def rebinding(*_: Any) -> list[str]:
        return next(answers)

    settings = Settings(url_allow_http=True, url_ports=(site.port,))
    found = Fetcher(settings, rebinding, lambda address: address == PUBLIC)
    url = f"http://photos.example:{site.port}/photo.jpg"
    assert asyncio.run(found.fetch(url, lambda _: None)) == photo()
    with pytest.raises(ImageError, match="not public"):
        asyncio.run(found.fetch(url, lambda _: None))


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "127.0.0.1",
        "127.1.2.3",
        "0.0.0.0",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.0.192",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::7f00:1",
        "64:ff9b:1::a00:1",
        "2002:7f00:1::",
        "2001:0:7f00:1::",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "2001:db8::1",
        "not an address",
        "2130706433",
        "0x7f000001",
        "",
    ],
)
def test_non_public_address_is_rejected(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.216.34", "2606:2800:220:1::1"])
def test_public_address_is_accepted(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "0177.0.0.1", "127.1", "localhost"])
def test_loopback_spellings_are_refused_after_resolving(host: str) -> None:
    settings = Settings(url_allow_http=True)
    with pytest.raises(ImageError) as refusal:
        asyncio.run(Fetcher(settings).fetch(f"http://{host}/", lambda _: None))
    assert refusal.value.code in ("url_not_allowed", "url_failed")


def test_fetched_bytes_are_reserved(site: type[Site]) -> None:
    def hold(_: int) -> None:
        raise OverloadedError("full", 1)

    with pytest.raises(OverloadedError):
        asyncio.run(fetcher(site).fetch(f"http://photos.example:{site.port}/photo.jpg", hold))


@contextmanager
def fetching(
    classifier: Classifier, site: type[Site], monkeypatch: pytest.MonkeyPatch
) -> Iterator[httpx.Client]:
    monkeypatch.setattr("app.main.Fetcher", lambda _: fetcher(site))
    with (
        live_server(create_app(Settings(allow_image_urls=True), classifier)) as url,
        httpx.Client(base_url=url, timeout=30) as client,
    ):
        yield client


def test_url_gives_same_result_as_bytes_and_bad_url_fails_alone(
    tiny_classifier: Classifier, site: type[Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    base = f"http://photos.example:{site.port}"
    urls = [f"{base}/photo.jpg", f"{base}/text", f"{base}/missing", "https://127.0.0.1/"]
    with fetching(tiny_classifier, site, monkeypatch) as client:
        body = {"images": [{"id": str(n), "url": url} for n, url in enumerate(urls)]}
        results = client.post("/predict", json=body).json()["results"]
        sent = client.post(
            "/predict", content=photo(), headers={"content-type": "image/jpeg"}
        ).json()["results"]
        assert results[0] == sent[0]
        codes = [result["error"]["code"] for result in results[1:]]
        assert codes == ["not_an_image", "url_failed", "url_not_allowed"]
        assert client.get("/metrics").text.count("mumic_request_bytes_in_flight 0.0") == 1


def test_slow_urls_exceed_deadline_with_504(
    tiny_classifier: Classifier, site: type[Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = fetcher(site, url_timeout_s=10_000)
    monkeypatch.setattr("app.main.Fetcher", lambda _: fetched)
    app = create_app(Settings(allow_image_urls=True, request_timeout_s=300), tiny_classifier)
    body = {"images": [{"url": f"http://photos.example:{site.port}/slow"}]}
    asked = site.seen.count("/slow")

    async def scenario() -> None:
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://mumic") as client,
        ):
            answer = asyncio.create_task(client.post("/predict", json=body))
            await until(lambda: site.seen.count("/slow") > asked)
            advance_clock(301)
            late = await asyncio.wait_for(answer, PATIENCE_S)
            assert (late.status_code, late.json()["code"]) == (504, "deadline_exceeded")

    with asyncio.Runner(loop_factory=ManualClockLoop) as runner:
        runner.run(scenario())


def test_urls_are_disabled_by_default(client: httpx.Client) -> None:
    answer = client.post("/predict", json={"images": [{"url": "https://photos.example/"}]})
    assert answer.status_code == 422
    assert answer.json()["results"][0]["error"]["code"] == "url_not_allowed"
