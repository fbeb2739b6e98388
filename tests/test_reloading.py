"""Another checkpoint takes the place of the one that answers, and no request notices."""

import gc
import shutil
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from app.core.classifier import Classifier
from app.main import create_app
from app.settings import Settings
from tests.sending import multipart, photo
from tests.tiny import live_server, write_tiny

TOKEN = "a token of the operator"
HEADERS = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two checkpoints that differ in version and in every score."""
    folder = tmp_path_factory.mktemp("two")
    return (
        write_tiny(folder / "a", seed=1, version="1.0.0"),
        write_tiny(folder / "b", seed=2, version="2.0.0"),
    )


@contextmanager
def reloadable(directory: Path, **changed: object) -> Iterator[httpx.Client]:
    settings = Settings.model_validate(
        {"checkpoint": directory, "device": "cpu", "precision": "fp32", "admin_token": TOKEN}
        | changed
    )
    classifier = Classifier.load(directory, device="cpu", precision="fp32")
    with (
        live_server(create_app(settings, classifier)) as url,
        httpx.Client(base_url=url, timeout=30) as client,
    ):
        yield client


def scores(client: httpx.Client) -> tuple[str, list[float]]:
    """Who answered, and the confidence of every label."""
    answer = client.post("/predict", **multipart(photo(), all_scores=True))
    assert answer.status_code == 200
    answered = answer.json()
    labels = sorted(answered["results"][0]["labels"], key=lambda label: label["id"])
    return answered["model"]["version"], [label["confidence"] for label in labels]


def test_the_named_checkpoint_answers_from_then_on(checkpoints: tuple[Path, Path]) -> None:
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


def test_swaps_under_load_fail_no_request_and_mix_no_versions(
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

        def ask() -> None:
            nonlocal answered
            with httpx.Client(base_url=client.base_url, timeout=30) as own:
                while not stop.is_set():
                    version, found = scores(own)
                    answered += 1
                    if found != pytest.approx(expected[version], abs=2e-6):
                        wrong.append((version, found))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for directory in checkpoints * 3:
            body = {"checkpoint": str(directory)}
            assert client.post("/admin/reload", headers=HEADERS, params=body).status_code == 200
        stop.set()
        for thread in threads:
            thread.join(30)
        assert not wrong
        assert answered > 10


def test_what_is_wrong_with_a_checkpoint_keeps_the_old_one(
    checkpoints: tuple[Path, Path], tmp_path: Path
) -> None:
    broken = Path(shutil.copytree(checkpoints[1], tmp_path / "broken"))
    weights = broken / "open_clip_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with reloadable(checkpoints[0]) as client:
        before = scores(client)
        for directory, told in [(broken, "not a whol"), (tmp_path / "none", "no such")]:
            body = {"checkpoint": str(directory)}
            answer = client.post("/admin/reload", headers=HEADERS, params=body)
            assert (answer.status_code, answer.json()["code"]) == (422, "checkpoint_refused")
            assert told in answer.json()["detail"]
            assert "old checkpoint answers on" in answer.json()["detail"]
        assert scores(client) == before
        assert client.get("/readyz").status_code == 200


def test_a_directory_that_can_be_none_keeps_the_old_one(checkpoints: tuple[Path, Path]) -> None:
    with reloadable(checkpoints[0]) as client:
        for name in ("a\x00b", "a" * 5000, "a\r\nINFO b", "/proc/1/mem", "\u202e", "/"):
            params = {"checkpoint": name}
            answer = client.post("/admin/reload", headers=HEADERS, params=params)
            assert (answer.status_code, answer.json()["code"]) == (422, "checkpoint_refused")
        answer = client.post("/admin/reload?checkpoint=", headers=HEADERS)
        assert answer.json()["version"] == "1.0.0"  # none is named


def test_without_the_token_nothing_is_reloaded(checkpoints: tuple[Path, Path]) -> None:
    with reloadable(checkpoints[0]) as client:
        for sent in (None, "", "Bearer", "Bearer wrong", TOKEN, f"bearer {TOKEN}x"):
            headers = {} if sent is None else {"authorization": sent}
            answer = client.post("/admin/reload", headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized"), sent
            assert answer.headers["www-authenticate"] == "Bearer"
            assert TOKEN not in answer.text


def test_without_a_token_there_is_no_such_address(client: httpx.Client) -> None:
    assert client.post("/admin/reload", headers=HEADERS).status_code == 404


def test_an_old_checkpoint_is_let_go_without_the_garbage_collector(
    checkpoints: tuple[Path, Path],
) -> None:
    gc.disable()
    try:
        classifier = Classifier.load(checkpoints[0], device="cpu", precision="fp32")
        classifier.embed_texts(["beach"])
        gone = weakref.ref(classifier)
        del classifier
        assert gone() is None
    finally:
        gc.enable()
