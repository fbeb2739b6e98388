"""A reloaded checkpoint is verified in the engine before it is served."""

import httpx
import pytest
from torch import Tensor

from app.core.classifier import Classifier
from app.main import create_app
from app.settings import Settings
from tests.support.engine import served
from tests.support.fakes import FakeClassifier, FakeTower

TOKEN = "a token of the operator"


class WrongEmbeddings(FakeClassifier):
    """Its embeddings do not match the golden ones."""

    def is_golden(self, embedding: Tensor) -> bool:
        return not super().is_golden(embedding)


def test_new_checkpoint_is_verified_before_it_is_served(
    tiny_classifier: Classifier, small_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    tower, without_memory = FakeTower(), FakeTower()
    without_memory.memory = 0
    settings = Settings.model_validate(small_settings.model_dump() | {"admin_token": TOKEN})
    found: list[Classifier] = []
    monkeypatch.setattr("app.main.load_classifier", lambda _: found.pop())
    app = create_app(settings, FakeClassifier(tiny_classifier, tower))

    def reloaded(client: httpx.Client, loaded: Classifier) -> tuple[int, str]:
        found.append(loaded)
        answer = client.post("/admin/reload", headers={"Authorization": f"Bearer {TOKEN}"})
        return answer.status_code, answer.json().get("detail", "")

    with served(app, tower) as client:
        status, detail = reloaded(client, WrongEmbeddings(tiny_classifier, FakeTower()))
        assert (status, "is not the expected one" in detail) == (422, True)
        status, detail = reloaded(client, FakeClassifier(tiny_classifier, without_memory))
        assert (status, "the old checkpoint is still served" in detail) == (422, True)
        assert tower.batches == []
        assert client.get("/readyz").status_code == 200
        assert tower.batches == [1]  # the first one is still served
        assert reloaded(client, FakeClassifier(tiny_classifier, FakeTower())) == (200, "")
