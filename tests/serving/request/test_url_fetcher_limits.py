"""Limits on concurrent fetches and on the bytes of fetched images."""

import asyncio

import httpx
import pytest

from app.core.classifier import Classifier
from app.main import create_app
from app.serving.request import Fetcher
from app.settings import Settings
from tests.support.fakes import until
from tests.support.requests import metric, photo
from tests.support.site import PUBLIC, running_site
from tests.support.tiny import live_server


def test_concurrent_fetches_are_bounded() -> None:
    async def scenario() -> None:
        resolved, received = 0, 0
        go = asyncio.Event()

        async def resolve(*_: object) -> list[str]:
            nonlocal resolved
            resolved += 1
            return [PUBLIC]

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal received
            await reader.readuntil(b"\r\n\r\n")
            received += 1
            await go.wait()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nphoto")
            writer.close()

        async with await asyncio.start_server(answer, PUBLIC, 0) as server:
            port = server.sockets[0].getsockname()[1]
            settings = Settings(
                url_allow_http=True, url_ports=(port,), url_concurrency=2, url_timeout_s=20
            )
            fetcher = Fetcher(settings, resolve, lambda _: True)
            url = f"http://photos.example:{port}/"
            fetched = [asyncio.create_task(fetcher.fetch(url, lambda _: None)) for _ in range(5)]
            await until(lambda: received >= 2)
            assert resolved == 2  # the others wait before they resolve
            go.set()
            assert await asyncio.gather(*fetched) == [b"photo"] * 5
            assert resolved == 5

    asyncio.run(scenario())


def test_fetched_bytes_count_towards_byte_budget(
    tiny_classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(*_: object) -> list[str]:
        return [PUBLIC]

    with running_site() as site:
        settings = Settings(
            allow_image_urls=True,
            url_allow_http=True,
            url_ports=(site.port,),
            max_request_bytes=1000,
            max_queued_bytes=len(photo()) * 3 // 2,
        )
        fetcher = Fetcher(settings, resolve, lambda address: address == PUBLIC)
        monkeypatch.setattr("app.main.Fetcher", lambda _: fetcher)
        image = {"url": f"http://photos.example:{site.port}/photo.jpg"}
        with (
            live_server(create_app(settings, tiny_classifier)) as url,
            httpx.Client(base_url=url, timeout=30) as client,
        ):
            for images, status in [(1, 200), (2, 429), (1, 200)]:
                answer = client.post("/predict", json={"images": [image] * images})
                assert answer.status_code == status
                assert metric(client, "mumic_request_bytes_in_flight") == 0
