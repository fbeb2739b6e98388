"""Reloading: another checkpoint is served without failed or mixed responses."""

import asyncio
import gc
import shutil
import threading
import weakref
from pathlib import Path

import httpx
import pytest
import torch
from pydantic import SecretStr

from app.core.classifier import Classifier
from app.main import create_app
from app.serving.inference import Engine
from app.serving.inference.served_model import make_served_model
from app.serving.observability import Metrics
from app.settings import Settings
from tests.support.engine import embed, served
from tests.support.fakes import GOOD, FakeClassifier, FakeTower, grey_photo, until, wait_until
from tests.support.reloading import HEADERS, TOKEN, reloadable, scores
from tests.support.requests import metric, raw
from tests.support.tiny import write_tiny


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two checkpoints that differ in version and in every score."""
    folder = tmp_path_factory.mktemp("two")
    return (
        write_tiny(folder / "a", seed=1, version="1.0.0"),
        write_tiny(folder / "b", seed=2, version="2.0.0"),
    )


def test_named_checkpoint_is_served_after_reload(checkpoints: tuple[Path, Path]) -> None:
    first, second = checkpoints
    with reloadable(first) as client:
        version, before = scores(client)
        answer = client.post("/admin/reload", headers=HEADERS, params={"checkpoint": str(second)})
        assert (answer.status_code, answer.json()["version"]) == (200, "2.0.0")
        assert client.get("/model").json()["version"] == "2.0.0"
        assert (version, scores(client)[0]) == ("1.0.0", "2.0.0")
        assert scores(client)[1] != before
        metrics = client.get("/metrics").text
        assert 'version="1.0.0"} 0.0' in metrics
        assert 'version="2.0.0"} 1.0' in metrics
        assert client.post("/admin/reload", headers=HEADERS).json()["version"] == "1.0.0"
        assert scores(client) == ("1.0.0", before)


@pytest.mark.slow
def test_reload_under_load_fails_and_mixes_no_response(
    checkpoints: tuple[Path, Path],
) -> None:
    with reloadable(checkpoints[0], embedding_cache_bytes=2**20) as client:
        expected = dict([scores(client)])
        client.post("/admin/reload", headers=HEADERS, params={"checkpoint": str(checkpoints[1])})
        expected |= dict([scores(client)])
        assert len(expected) == 2
        wrong: list[object] = []
        answered = 0
        stop = threading.Event()

        def send() -> None:
            nonlocal answered
            with httpx.Client(base_url=client.base_url, timeout=30) as own:
                while not stop.is_set():
                    version, confidences = scores(own)
                    answered += 1
                    if confidences != pytest.approx(expected[version], abs=2e-6):
                        wrong.append((version, confidences))

        threads = [threading.Thread(target=send) for _ in range(4)]
        for thread in threads:
            thread.start()
        for directory in checkpoints * 3:
            body = {"checkpoint": str(directory)}
            assert client.post("/admin/reload", headers=HEADERS, params=body).status_code == 200
        wait_until(lambda: answered > 10 or bool(wrong))
        stop.set()
        for thread in threads:
            thread.join(30)
        assert not wrong


def test_invalid_checkpoint_keeps_old_one(checkpoints: tuple[Path, Path], tmp_path: Path) -> None:
    broken = Path(shutil.copytree(checkpoints[1], tmp_path / "broken"))
    weights = broken / "open_clip_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with reloadable(checkpoints[0]) as client:
        before = scores(client)
        assert metric(client, 'mumic_checkpoint_reloads_total{outcome="failed"}') == 0
        assert metric(client, "mumic_checkpoint_last_reload_successful") == 1
        for directory, detail in [(broken, "not a complete"), (tmp_path / "none", "no such")]:
            body = {"checkpoint": str(directory)}
            answer = client.post("/admin/reload", headers=HEADERS, params=body)
            assert (answer.status_code, answer.json()["code"]) == (422, "checkpoint_refused")
            assert detail in answer.json()["detail"]
            assert "old checkpoint is still served" in answer.json()["detail"]
        unknown = {"chekpoint": str(checkpoints[1])}
        answer = client.post("/admin/reload", headers=HEADERS, params=unknown)
        assert (answer.status_code, answer.json()["field"]) == (422, "chekpoint")
        assert scores(client) == before
        assert client.get("/readyz").status_code == 200
        assert metric(client, 'mumic_checkpoint_reloads_total{outcome="failed"}') == 2
        assert metric(client, "mumic_checkpoint_last_reload_successful") == 0
        assert client.post("/admin/reload", headers=HEADERS).status_code == 200
        assert metric(client, 'mumic_checkpoint_reloads_total{outcome="ok"}') == 1
        assert metric(client, "mumic_checkpoint_last_reload_successful") == 1


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA: secret"), MemoryError(), RuntimeError("secret")]
)
def test_unexpected_error_keeps_old_checkpoint_and_is_logged(
    checkpoints: tuple[Path, Path],
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def load(_: Settings) -> Classifier:
        raise error

    monkeypatch.setattr("app.main.load_classifier", load)
    with reloadable(checkpoints[0]) as client:
        answer = client.post("/admin/reload", headers=HEADERS)
        assert (answer.status_code, answer.json()["code"]) == (422, "checkpoint_refused")
        assert type(error).__name__ in answer.json()["detail"]
        assert "secret" not in answer.text
        assert any(record.exc_info for record in caplog.records)
        assert client.get("/model").json()["version"] == "1.0.0"


def test_reload_is_refused_while_model_is_stuck(
    tiny_classifier: Classifier, small_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    tower = FakeTower()
    classifier = FakeClassifier(tiny_classifier, tower)
    monkeypatch.setattr("app.main.load_classifier", lambda _: classifier)
    changed = {"admin_token": SecretStr(TOKEN), "request_timeout_s": 0.5}
    app = create_app(small_settings.model_copy(update=changed), classifier)
    with served(app, tower) as client:
        tower.go.clear()
        assert client.post("/predict", **raw(grey_photo(GOOD))).status_code == 504
        for _ in range(2):
            answer = client.post("/admin/reload", headers=HEADERS)
            assert (answer.status_code, answer.json()["code"]) == (422, "checkpoint_refused")
            assert "for 0.5 s; the old" in answer.json()["detail"]
        tower.go.set()
        wait_until(lambda: client.post("/admin/reload", headers=HEADERS).status_code == 200)


def test_draining_server_refuses_reload(
    tiny_classifier: Classifier, small_settings: Settings
) -> None:
    async def scenario() -> None:
        changed = {"admin_token": SecretStr(TOKEN)}
        app = create_app(small_settings.model_copy(update=changed), tiny_classifier)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://mumic") as client:
            async with app.router.lifespan_context(app):
                pass
            answer = await client.post("/admin/reload", headers=HEADERS)
            assert (answer.status_code, answer.json()["code"]) == (503, "draining")

    asyncio.run(scenario())


def test_cache_metric_is_of_served_checkpoint(
    checkpoints: tuple[Path, Path],
) -> None:
    with reloadable(checkpoints[0], embedding_cache_bytes=2**20) as client:
        sizes = []
        for _ in range(2):
            scores(client)
            sizes.append(metric(client, "mumic_embedding_cache_bytes"))
            assert client.post("/admin/reload", headers=HEADERS).status_code == 200
            assert metric(client, "mumic_embedding_cache_bytes") == 0
        assert sizes[0] == sizes[1] > 0


def test_request_on_old_checkpoint_leaves_cache_metric(
    tiny_classifier: Classifier, small_settings: Settings
) -> None:
    async def scenario() -> None:
        metrics, tower = Metrics(), FakeTower()
        settings = small_settings.model_copy(update={"embedding_cache_bytes": 2**20})
        classifier = FakeClassifier(tiny_classifier, tower)
        engine = Engine(classifier, settings, metrics, cores=1)
        engine.start()
        tower.go.clear()
        started = asyncio.create_task(embed(engine, lambda: grey_photo(GOOD), 1))
        await until(lambda: tower.batches == [1])
        engine.models.replace(make_served_model(classifier, settings, metrics))
        tower.go.set()
        await started
        assert b"mumic_embedding_cache_bytes 0.0" in metrics.render()
        await engine.close()

    asyncio.run(scenario())


def test_impossible_directory_keeps_old_checkpoint(checkpoints: tuple[Path, Path]) -> None:
    with reloadable(checkpoints[0]) as client:
        for name in ("a\x00b", "a" * 5000, "a\r\nINFO b", "/proc/1/mem", "\u202e", "/"):
            params = {"checkpoint": name}
            answer = client.post("/admin/reload", headers=HEADERS, params=params)
            assert (answer.status_code, answer.json()["code"]) == (422, "checkpoint_refused")
        answer = client.post("/admin/reload?checkpoint=", headers=HEADERS)
        assert answer.json()["version"] == "1.0.0"  # an empty name is the default checkpoint


def test_reload_without_token_is_unauthorized(checkpoints: tuple[Path, Path]) -> None:
    with reloadable(checkpoints[0]) as client:
        for sent in (None, "", "Bearer", "Bearer wrong", TOKEN, f"bearer {TOKEN}x"):
            headers = {} if sent is None else {"authorization": sent}
            answer = client.post("/admin/reload", headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized"), sent
            assert answer.headers["www-authenticate"] == "Bearer"
            assert TOKEN not in answer.text


def test_reload_does_not_exist_without_admin_token(client: httpx.Client) -> None:
    assert client.post("/admin/reload", headers=HEADERS).status_code == 404


def test_old_checkpoint_is_freed_by_reference_counting(
    checkpoints: tuple[Path, Path],
) -> None:
    gc.disable()
    try:
        classifier = Classifier.load(checkpoints[0], device="cpu", precision="fp32")
        classifier.embed_texts(["beach"])
        reference = weakref.ref(classifier)
        del classifier
        assert reference() is None
    finally:
        gc.enable()
