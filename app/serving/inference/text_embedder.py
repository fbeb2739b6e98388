"""Texts to embeddings, off the event loop."""

import asyncio
import time
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from app.core.runtime import run_in_new_thread
from app.serving.inference.admission import Admission
from app.serving.inference.served_model import ServedModel
from app.serving.observability import Metrics

# As fast per text as larger chunks; another request waits for one of them.
CHUNK_SIZE = 64


class TextEmbedder:
    """Embeds texts in chunks, concurrently with the image batches.

    Requests with new texts alternate, one chunk each. A request whose texts are all in the text
    cache does not wait.

    Args:
        admission: refuses texts while the service is stopping.
        metrics: counts texts.
        cores: CPU cores that torch may use.
    """

    def __init__(self, admission: Admission, metrics: Metrics, cores: int) -> None:
        self._admission = admission
        self._metrics = metrics.texts
        self._cores = cores
        self._embedding = asyncio.Lock()  # admits its waiters in the order of their arrival

    async def embed(self, served: ServedModel, texts: Sequence[str]) -> Tensor:
        """Embed texts without a template. Cancellation takes effect after the current chunk.

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
        rows = served.classifier.cached_text_embeddings(texts)
        hits = sum(text in rows for text in texts)
        missing = [text for text in dict.fromkeys(texts) if text not in rows]
        for start in range(0, len(missing), CHUNK_SIZE):
            chunk = missing[start : start + CHUNK_SIZE]
            async with self._embedding:
                embeddings = await self._embed_chunk(served, chunk)
            rows |= zip(chunk, embeddings, strict=True)
        seconds = time.perf_counter() - started_s
        self._metrics.observe(seconds, hits=hits, misses=len(texts) - hits)
        return torch.stack([rows[text] for text in texts])

    async def _embed_chunk(self, served: ServedModel, texts: Sequence[str]) -> Tensor:
        embed = partial(served.classifier.embed_texts, texts)
        rows = asyncio.wrap_future(run_in_new_thread(self._cores, embed))
        try:
            return await asyncio.shield(rows)
        except asyncio.CancelledError:
            await asyncio.wait([rows])  # threads cannot be cancelled; keep the lock until it ends
            raise
