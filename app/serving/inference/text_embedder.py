"""Texts to embeddings, off the event loop."""

import asyncio
import time
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from app.core.model import TEXT_BATCH_SIZE
from app.core.runtime import run_in_new_thread
from app.serving.inference.admission import Admission
from app.serving.inference.served_model import ServedModel
from app.serving.observability import Metrics


class TextEmbedder:
    """Embeds texts, one request after the other, concurrently with the image batches.

    Args:
        admission: refuses texts while the service is stopping.
        metrics: counts texts.
        cores: CPU cores that torch may use.
    """

    def __init__(self, admission: Admission, metrics: Metrics, cores: int) -> None:
        self._admission = admission
        self._metrics = metrics.texts
        self._cores = cores
        self._embedding = asyncio.Lock()

    async def embed(self, served: ServedModel, texts: Sequence[str]) -> Tensor:
        """Embed texts without a template. Cancellation takes effect after the current batch.

        Args:
            served: the checkpoint.
            texts: at least one text.

        Returns:
            (N, D) float32 unit rows.

        Raises:
            TextError: a text is empty or longer than the tokenizer's context.
            DrainingError: the service is stopping.
        """
        self._admission.refuse_when_draining()
        started_s = time.perf_counter()
        starts = range(0, len(texts), TEXT_BATCH_SIZE)
        async with self._embedding:
            hits = served.classifier.count_cached(texts)
            embeddings = torch.cat(
                [
                    await self._embed_batch(served, texts[start : start + TEXT_BATCH_SIZE])
                    for start in starts
                ]
            )
        seconds = time.perf_counter() - started_s
        self._metrics.observe(seconds, hits=hits, misses=len(texts) - hits)
        return embeddings

    async def _embed_batch(self, served: ServedModel, texts: Sequence[str]) -> Tensor:
        embed = partial(served.classifier.embed_texts, list(texts))
        rows = asyncio.wrap_future(run_in_new_thread(self._cores, embed))
        try:
            return await asyncio.shield(rows)
        except asyncio.CancelledError:
            await asyncio.wait([rows])  # threads cannot be cancelled; keep the lock until it ends
            raise
