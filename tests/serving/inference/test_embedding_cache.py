"""The embedding cache: repeated photos need no model pass, and memory is bounded."""

import httpx
import pytest
import torch

from app.core.classifier import Classifier
from app.main import create_app
from app.serving.inference import EmbeddedImage
from app.serving.inference.embedding_cache import ENTRY_BYTES, EmbeddingCache
from app.settings import Settings
from tests.support.engine import served
from tests.support.fakes import CLASSES, DIMENSION, FakeClassifier, FakeTower, grey_photo
from tests.support.requests import json_body, metric, multipart, photo, raw


def count(client: httpx.Client, result: str) -> float:
    return metric(client, f'mumic_embedding_cache_lookups_total{{result="{result}"}}')


@pytest.mark.parametrize(("cache_bytes", "passes", "hits"), [(0, 5, 0), (2**20, 2, 3)])
def test_repeated_photo_is_embedded_once_for_all_routes(
    tiny_classifier: Classifier,
    small_settings: Settings,
    cache_bytes: int,
    passes: int,
    hits: int,
) -> None:
    tower = FakeTower()
    settings = small_settings.model_copy(update={"embedding_cache_bytes": cache_bytes})
    with served(create_app(settings, FakeClassifier(tiny_classifier, tower)), tower) as client:
        data, other = photo("chelsea"), photo("coffee")
        first = client.post("/embed", **multipart(data)).json()["results"][0]
        again = client.post("/embed", **raw(data)).json()["results"][0]
        assert client.post("/predict", **json_body(data)).status_code == 200
        assert client.post("/zero-shot", **multipart(data, labels="pool")).status_code == 200
        assert client.post("/predict", **multipart(other)).status_code == 200
        assert sum(tower.batches) == passes
        assert (count(client, "hit"), count(client, "miss")) == (hits, 2 if cache_bytes else 0)
        fields = ("width", "height", "embedding", "status")
        assert [first[name] for name in fields] == [again[name] for name in fields]


def test_unusable_photo_is_not_cached(
    tiny_classifier: Classifier, small_settings: Settings
) -> None:
    tower = FakeTower()
    settings = small_settings.model_copy(update={"embedding_cache_bytes": 2**20})
    with served(create_app(settings, FakeClassifier(tiny_classifier, tower)), tower) as client:
        for _ in range(2):
            assert client.post("/embed", **multipart(b"no photo")).status_code == 422
        assert (count(client, "hit"), count(client, "miss")) == (0, 2)


def test_least_recently_used_images_are_evicted() -> None:
    entry = (DIMENSION + CLASSES) * 4 + ENTRY_BYTES
    cache = EmbeddingCache(max_bytes=2 * entry)
    keys = [cache.key(grey_photo(value)) for value in (1, 2, 3)]
    batch, scores = torch.eye(3, DIMENSION), torch.eye(3, CLASSES)
    for key, row in zip(keys[:2], batch, strict=False):
        cache.put(key, EmbeddedImage(row, scores[0], 8, 8))
    assert cache.get(keys[0]) is not None
    cache.put(keys[2], EmbeddedImage(batch[2], scores[2], 8, 8))
    cache.put(keys[2], EmbeddedImage(batch[2], scores[2], 8, 8))
    assert [cache.get(key) is not None for key in keys] == [True, False, True]
    assert cache.size_bytes == 2 * entry
    kept = cache.get(keys[0])
    assert kept is not None
    assert torch.equal(kept.embedding, batch[0])
    assert kept.embedding.untyped_storage().nbytes() == DIMENSION * 4  # not its whole batch
    assert kept.logits.untyped_storage().nbytes() == CLASSES * 4
