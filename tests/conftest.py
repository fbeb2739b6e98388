"""Shared fixtures: a tiny checkpoint, its classifier and a live server."""

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import hypothesis
import pytest
import torch
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from rich.progress import Progress

from app.core.checkpoint import Checkpoint
from app.core.classifier import Classifier
from app.main import create_app
from app.settings import SHIPPED_CHECKPOINT, Settings
from tests.support.annotation import write_crops, write_labels
from tests.support.tiny import live_server, write_tiny
from tests.support.training_set import write_init, write_photos

hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")
torch.set_num_threads(1)  # the models are tiny, and test processes share two cores
for name in [name for name in os.environ if name.startswith("OTEL_")]:
    del os.environ[name]  # tests ignore the developer's tracing configuration

# The slowest files run first, so that the processes of `make test` end at about the same time.
LONGEST = ("test_workers", "test_training", "test_cli", "test_training_devices", "test_importer")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("checkpoints") / "tiny")


@pytest.fixture(scope="session")
def tiny_classifier(tiny_checkpoint: Path) -> Classifier:
    return Classifier.load(tiny_checkpoint, device="cpu", precision="fp32")


@pytest.fixture(scope="session")
def shipped_classifier() -> Classifier:
    return Classifier.load(SHIPPED_CHECKPOINT, device="cpu", precision="fp32")


@pytest.fixture(scope="session")
def small_settings(tiny_checkpoint: Path) -> Settings:
    """Settings with limits that a test can exceed."""
    return Settings(
        checkpoint=tiny_checkpoint,
        max_image_bytes=2 * 2**20,
        max_request_bytes=8 * 2**20,
        request_timeout_s=20,
    )


@pytest.fixture(scope="session")
def client(tiny_classifier: Classifier, small_settings: Settings) -> Iterator[httpx.Client]:
    with (
        live_server(create_app(small_settings, tiny_classifier)) as url,
        httpx.Client(base_url=url, timeout=30) as session,
    ):
        yield session


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The six photos of the training set."""
    return write_photos(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture(scope="module")
def init(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A tiny checkpoint to start training from."""
    return write_init(tmp_path_factory.mktemp("checkpoints") / "init")


@pytest.fixture
def progress() -> Iterator[Progress]:
    """Disabled progress bars."""
    with Progress(disable=True) as bar:
        yield bar


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with three photos, one with a name that URLs must escape, and their list."""
    write_crops(tmp_path / "photos", 3)
    (tmp_path / "photos" / "02.png").rename(tmp_path / "photos" / "a room & a view.png")
    (tmp_path / "list.csv").write_text("file\n00.png\n01.png\na room & a view.png\n00.png\n")
    write_labels(tmp_path)
    return tmp_path


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """The exported spans of a traced server, after its shutdown."""
    memory = InMemorySpanExporter()
    monkeypatch.setattr("app.serving.observability.tracing.OTLPSpanExporter", lambda: memory)
    return memory
