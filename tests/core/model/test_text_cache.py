"""The bounded LRU cache of text embeddings."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from app.core.model import TextCache


class Embedder:
    """Embeds a text as its length and first letter, and records its calls."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def __call__(self, texts: Sequence[str]) -> Tensor:
        self.calls.append(list(texts))
        return torch.tensor([self.row(text) for text in texts])

    @staticmethod
    def row(text: str) -> list[float]:
        return [float(len(text)), float(ord(text[0]))]


def test_rows_are_in_order_of_texts() -> None:
    cache = TextCache(Embedder(), 10)
    cache(["sea", "pool"])
    texts = ["pool", "mountain", "sea", "pool"]
    assert cache(texts).tolist() == [Embedder.row(text) for text in texts]


def test_text_is_embedded_once() -> None:
    embed = Embedder()
    cache = TextCache(embed, 10)
    cache(["sea", "pool", "sea"])
    cache(["pool", "sauna"])
    cache(["sea"])
    assert embed.calls == [["sea", "pool"], ["sauna"]]


def test_least_recently_used_text_is_evicted() -> None:
    embed = Embedder()
    cache = TextCache(embed, 2)
    for text in ("a", "b", "a", "c"):  # b is the least recently used when c is added
        cache([text])
    assert len(cache) == 2
    cache(["a", "c"])
    cache(["b"])
    assert embed.calls == [["a"], ["b"], ["c"], ["b"]]


def test_more_texts_than_capacity_are_embedded() -> None:
    cache = TextCache(Embedder(), 2)
    texts = [f"{letter} text" for letter in "abcdef"]
    assert cache(texts).tolist() == [Embedder.row(text) for text in texts]
    assert len(cache) == 2


def test_cached_row_does_not_keep_its_batch_alive() -> None:
    batch = torch.arange(2000.0).view(1000, 2)
    cache = TextCache(lambda texts: batch[: len(texts)], 1)
    cache([str(i) for i in range(1000)])
    row = next(iter(cache._rows.values()))
    assert row.untyped_storage().nbytes() == 8


def test_failure_is_not_cached() -> None:
    fail = True

    def embed(texts: Sequence[str]) -> Tensor:
        if fail:
            raise RuntimeError("out of memory")
        return torch.ones(len(texts), 2)

    cache = TextCache(embed, 2)
    try:
        cache(["sea"])
    except RuntimeError:
        fail = False
    assert len(cache) == 0
    assert cache(["sea"]).tolist() == [[1, 1]]


def test_concurrent_threads_get_correct_rows() -> None:
    cache = TextCache(Embedder(), 8)

    def ask(start: int) -> bool:
        texts = [f"{chr(97 + (start + i) % 26)} text {(start * i) % 7}" for i in range(20)]
        return cache(texts).tolist() == [Embedder.row(text) for text in texts]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(200)))
    assert len(cache) <= 8


def test_cached_text_does_not_wait_for_another_thread() -> None:
    started, go = threading.Event(), threading.Event()

    def embed(texts: Sequence[str]) -> Tensor:
        if "cold" in texts:
            started.set()
            assert go.wait(20)
        return Embedder()(texts)

    cache = TextCache(embed, 10)
    cache(["sea"])
    cold = threading.Thread(target=cache, args=(["cold"],))
    cold.start()
    assert started.wait(20)
    assert cache(["sea"]).tolist() == [Embedder.row("sea")]
    assert list(cache.find(["sea", "cold"])) == ["sea"]
    go.set()
    cold.join()
    assert list(cache.find(["sea", "cold"])) == ["sea", "cold"]
