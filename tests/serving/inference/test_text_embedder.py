"""Text embedding: alternating chunks of requests, cached texts at once, and cancellation."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence

import pytest
import torch
from torch import Tensor

from app.core.classifier import Classifier
from app.core.model import TextCache
from app.serving.inference import Engine
from app.serving.inference.text_embedder import CHUNK_SIZE
from app.serving.observability import Metrics
from app.settings import Settings
from tests.support.fakes import PATIENCE_S, FakeClassifier, FakeTower, until


class SlowTexts(FakeClassifier):
    """Embeds a text as its length, and each chunk of new texts only after a permit.

    Attributes:
        chunks: the new texts of each call.
        concurrent: running calls at the start of each call.
        permits: a call ends when it has acquired one.
    """

    def __init__(self, real: Classifier) -> None:
        super().__init__(real, FakeTower())
        self.chunks: list[list[str]] = []
        self.concurrent: list[int] = []
        self.permits = threading.Semaphore(0)
        self._running = 0
        self._text_cache = TextCache(self._embed_slowly, 10_000)

    def _embed_slowly(self, texts: Sequence[str]) -> Tensor:
        self.chunks.append(list(texts))
        self._running += 1
        self.concurrent.append(self._running)
        assert self.permits.acquire(timeout=PATIENCE_S)
        self._running -= 1
        return torch.tensor([[float(len(text))] * 32 for text in texts])


Scenario = Callable[[Engine, SlowTexts], Coroutine[None, None, None]]


@pytest.fixture
def run(tiny_classifier: Classifier, small_settings: Settings) -> Callable[[Scenario], None]:
    """Run a scenario with an engine and its classifier."""

    async def start(scenario: Scenario) -> None:
        classifier = SlowTexts(tiny_classifier)
        await scenario(Engine(classifier, small_settings, Metrics(), 1), classifier)

    return lambda scenario: asyncio.run(start(scenario))


def new_texts(name: str, chunks: int) -> list[str]:
    return [f"{name} {number}" for number in range(chunks * CHUNK_SIZE)]


def begin(engine: Engine, texts: Sequence[str]) -> "asyncio.Task[Tensor]":
    return asyncio.create_task(engine.texts.embed(engine.models.current, texts))


def test_cancelled_texts_are_not_embedded(run: Callable[[Scenario], None]) -> None:
    async def scenario(engine: Engine, classifier: SlowTexts) -> None:
        texts = new_texts("cold", 5)
        for _ in range(3):
            cancelled = begin(engine, texts)
            await until(lambda: bool(classifier.chunks))
            cancelled.cancel()
        last = begin(engine, texts)
        await asyncio.sleep(0.05)
        assert len(classifier.chunks) == 1
        classifier.permits.release(5)
        assert (await last).shape == (len(texts), 32)
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        assert len(classifier.chunks) == 5  # the first chunk was cached when its caller had left
        assert set(classifier.concurrent) == {1}

    run(scenario)


def test_cached_texts_do_not_wait_for_cold_ones(run: Callable[[Scenario], None]) -> None:
    async def scenario(engine: Engine, classifier: SlowTexts) -> None:
        cached = ["cat", "temple", "cat"]
        classifier.permits.release()
        await begin(engine, cached)
        cold = begin(engine, new_texts("cold", 3))
        await until(lambda: len(classifier.chunks) == 2)
        assert (await begin(engine, cached))[:, 0].tolist() == [3, 6, 3]
        assert not cold.done()
        classifier.permits.release(3)
        await cold

    run(scenario)


def test_small_request_waits_for_one_chunk_of_a_large_one(
    run: Callable[[Scenario], None],
) -> None:
    async def scenario(engine: Engine, classifier: SlowTexts) -> None:
        large = begin(engine, new_texts("large", 4))
        await until(lambda: len(classifier.chunks) == 1)
        small = [begin(engine, [name]) for name in ("cat", "temple")]
        await asyncio.sleep(0)
        classifier.permits.release(3)
        assert [(await request)[0, 0] for request in small] == [3, 6]
        assert classifier.chunks[1:3] == [["cat"], ["temple"]]
        assert not large.done()
        classifier.permits.release(3)
        await large
        assert set(classifier.concurrent) == {1}

    run(scenario)


def test_only_new_texts_are_embedded_in_request_order(run: Callable[[Scenario], None]) -> None:
    async def scenario(engine: Engine, classifier: SlowTexts) -> None:
        classifier.permits.release(2)
        await begin(engine, ["cat"])
        rows = await begin(engine, ["temple", "cat", "pool", "temple"])
        assert rows[:, 0].tolist() == [6, 3, 4, 6]
        assert classifier.chunks == [["cat"], ["temple", "pool"]]

    run(scenario)


def test_texts_beyond_the_cache_are_embedded_once(run: Callable[[Scenario], None]) -> None:
    async def scenario(engine: Engine, classifier: SlowTexts) -> None:
        classifier._text_cache = TextCache(classifier._embed_slowly, 1)
        classifier.permits.release(3)
        texts = new_texts("cold", 3)
        assert len(await begin(engine, texts)) == len(texts)
        assert [text for chunk in classifier.chunks for text in chunk] == texts

    run(scenario)
