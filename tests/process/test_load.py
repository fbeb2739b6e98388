"""200 concurrent requests, one in ten with a truncated image."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.support.photos import NAMES
from tests.support.requests import photo, raw, truncated

REQUESTS = 200
CONCURRENCY = 64
SIDE_PX = 128


@pytest.mark.slow
def test_mixed_load_answers_good_and_refuses_bad_requests(client: httpx.Client) -> None:
    options = {"include_labels": ["beach", "sauna"], "all_scores": True}
    alone = {
        name: client.post("/predict", **raw(photo(name, SIDE_PX), **options)).json()
        for name in NAMES
    }
    expected = {name: scores(answer) for name, answer in alone.items()}

    async def load() -> list[httpx.Response]:
        gate = asyncio.Semaphore(CONCURRENCY)
        limits = httpx.Limits(max_connections=CONCURRENCY)
        async with httpx.AsyncClient(base_url=client.base_url, timeout=60, limits=limits) as many:

            async def one(number: int) -> httpx.Response:
                data = photo(name_of(number), SIDE_PX)
                if number % 10 == 0:
                    data = truncated(name_of(number))
                async with gate:
                    return await many.post("/predict", **raw(data, **options))

            return await asyncio.gather(*(one(number) for number in range(REQUESTS)))

    for number, answer in enumerate(asyncio.run(load())):
        if number % 10 == 0:
            assert answer.status_code == 422
            assert answer.json()["results"][0]["error"]["code"] == "corrupt"
        else:
            assert answer.status_code == 200, answer.text
            assert scores(answer.json()) == pytest.approx(expected[name_of(number)], abs=1e-3)
    assert client.post("/predict", **raw(photo())).status_code == 200
    assert "mumic_images_in_flight 0.0" in client.get("/metrics").text


def name_of(number: int) -> str:
    return NAMES[number % len(NAMES)]


def scores(answer: dict[str, Any]) -> dict[str, float]:
    (result,) = answer["results"]
    return {label["id"]: label["confidence"] for label in result["labels"]}
