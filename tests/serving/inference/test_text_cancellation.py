"""Text embedding: one request after the other, and cancellation after the current batch."""

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
    """Blocks until `go` is set; counts texts and concurrent calls."""

    def __init__(self, real: Classifier) -> None:
        super().__init__(real, FakeTower())
        self.go = threading.Event()
        self.started = 0
        self.concurrent: list[int] = []
        self._running = 0

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Zeros."""
        self.started += len(texts)
        self._running += 1
        self.concurrent.append(self._running)
        assert self.go.wait(PATIENCE_S)
        self._running -= 1
        return torch.zeros(len(texts), 32)


def test_cancelled_texts_are_not_embedded(
    tiny_classifier: Classifier, small_settings: Settings
) -> None:
    async def scenario() -> None:
        classifier = SlowTexts(tiny_classifier)
        engine = Engine(classifier, small_settings, Metrics(), 1)
        texts = [str(n) for n in range(5 * TEXT_BATCH_SIZE)]
        for _ in range(3):
            cancelled = asyncio.create_task(engine.texts.embed(engine.models.current, texts))
            await until(lambda: classifier.started > 0)
            cancelled.cancel()
        last = asyncio.create_task(engine.texts.embed(engine.models.current, texts))
        await asyncio.sleep(0.05)
        assert classifier.started == TEXT_BATCH_SIZE
        classifier.go.set()
        assert (await last).shape == (len(texts), 32)
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        assert classifier.started == TEXT_BATCH_SIZE + len(texts)
        assert set(classifier.concurrent) == {1}

    asyncio.run(scenario())
