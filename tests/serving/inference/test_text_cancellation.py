"""Texts are embedded one request at a time, and no longer than somebody waits for them."""

import asyncio
import threading
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from app.core.classifier import Classifier
from app.core.model import TEXT_BATCH_SIZE
from app.serving.inference import Engine
from app.serving.observability import Metrics
from app.settings import Settings
from tests.support.fakes import PATIENCE_S, FakeClassifier, FakeTower, until


class SlowTexts(FakeClassifier):
    """Embeds texts once it may; counts how many it has, and how many threads are at it."""

    def __init__(self, real: Classifier) -> None:
        super().__init__(real, FakeTower())
        self.go = threading.Event()
        self.begun = 0
        self.at_once: list[int] = []
        self._running = 0

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Zeros."""
        self.begun += len(texts)
        self._running += 1
        self.at_once.append(self._running)
        assert self.go.wait(PATIENCE_S)
        self._running -= 1
        return torch.zeros(len(texts), 32)


def test_texts_that_nobody_waits_for_are_not_embedded(
    tiny_classifier: Classifier, small_settings: Settings
) -> None:
    async def scenario() -> None:
        classifier = SlowTexts(tiny_classifier)
        engine = Engine(classifier, small_settings, Metrics(), 1)
        texts = [str(n) for n in range(5 * TEXT_BATCH_SIZE)]
        for _ in range(3):
            given_up = asyncio.create_task(engine.embed_texts(engine.served, texts))
            await until(lambda: classifier.begun > 0)
            given_up.cancel()
        last = asyncio.create_task(engine.embed_texts(engine.served, texts))
        await asyncio.sleep(0.05)
        assert classifier.begun == TEXT_BATCH_SIZE
        classifier.go.set()
        assert (await last).shape == (len(texts), 32)
        with pytest.raises(asyncio.CancelledError):
            await given_up
        assert classifier.begun == TEXT_BATCH_SIZE + len(texts)
        assert set(classifier.at_once) == {1}

    asyncio.run(scenario())
