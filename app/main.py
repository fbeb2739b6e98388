"""Composition root of the server: settings and a classifier in, an ASGI app out."""

import gc
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI

from app import __version__
from app.core.allocator import keep_freed_memory
from app.core.classifier import Classifier
from app.core.threads import compute_with
from app.serving.engine import Engine
from app.serving.listening import announcement, bind, log_to_stderr, server_config
from app.serving.metrics import Metrics
from app.serving.middleware import RequestContext
from app.serving.openapi import describe
from app.serving.problems import add_problem_handlers
from app.serving.routes.embed import embed_router
from app.serving.routes.info import info_router
from app.serving.routes.predict import predict_router
from app.serving.routes.zero_shot import zero_shot_router
from app.settings import Settings, cores_per_worker


class MumicApp(FastAPI):
    """FastAPI with the bodies that are read by hand in its OpenAPI document."""

    def openapi(self) -> dict[str, Any]:
        """The document, made once."""
        if self.openapi_schema is None:
            self.openapi_schema = describe(self)
        return self.openapi_schema


def load_classifier(settings: Settings) -> Classifier:
    """Load the checkpoint that the settings name.

    Raises:
        CheckpointError: it is not what it says.
        LabelSetError: its label set is not valid.
        OptionError: the device or precision cannot be had.
    """
    return Classifier.load(
        settings.checkpoint,
        device=settings.device,
        precision=settings.precision,
        text_cache_size=settings.text_cache_size,
    )


def create_app(settings: Settings, classifier: Classifier, cores: int = 1) -> FastAPI:
    """Wire the server. Its engine runs between the lifespan's start and end.

    Args:
        settings: what to serve, where and how.
        classifier: the loaded checkpoint.
        cores: of the CPU that torch may use.
    """
    metrics = Metrics()
    engine = Engine(classifier, settings, metrics, cores)
    metrics.name_model(**_model_labels(classifier))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        engine.start()
        yield
        await engine.close()

    app = MumicApp(
        title="MuMIC",
        version=__version__,
        summary="Tags photos with any labels",
        lifespan=lifespan,
    )
    app.add_middleware(RequestContext, metrics=metrics)
    add_problem_handlers(app)
    for router in (
        predict_router(engine, classifier, settings),
        embed_router(engine, classifier, settings),
        zero_shot_router(engine, classifier, settings),
        info_router(engine, classifier, metrics),
    ):
        app.include_router(router)
    return app


def create_worker(settings: Settings) -> FastAPI:
    """The app of one of several server processes, with its share of the cores.

    Raises:
        MumicError: the checkpoint cannot be served.
    """
    log_to_stderr()
    cores = _prepare_process(settings)
    app = create_app(settings, load_classifier(settings), cores)
    _spare_what_stays()
    return app


def run_server(settings: Settings, announce: Callable[[str], None]) -> None:
    """Serve in this process until a signal stops it.

    Args:
        settings: what to serve, where and how.
        announce: given the one line that says so, once requests are answered.

    Raises:
        OptionError: the address is taken or is none of this machine's.
        MumicError: the checkpoint cannot be served; nothing has listened yet.
    """
    log_to_stderr()
    cores = _prepare_process(settings)
    # Bound first, since that is quick to fail; it listens once the model is ready.
    with bind(settings.host, settings.port) as bound:
        classifier = load_classifier(settings)
        line = announcement(settings, bound, _model_labels(classifier))
        config = server_config(create_app(settings, classifier, cores), settings)
        _spare_what_stays()
        _AnnouncingServer(config, lambda: announce(line)).run(sockets=[bound])


def _prepare_process(settings: Settings) -> int:
    """Set up memory and threads before anything is loaded; gives this process's share of cores."""
    keep_freed_memory()
    cores = min(torch.get_num_threads(), cores_per_worker(settings.workers))
    compute_with(1)  # app/core/threads.py says why
    return cores


def _spare_what_stays() -> None:
    """Keep the garbage collector from looking through libraries and model again and again."""
    gc.collect()
    gc.freeze()


def _model_labels(classifier: Classifier) -> dict[str, str]:
    return {
        "name": classifier.checkpoint.card.name,
        "version": classifier.checkpoint.card.version,
        "labels_version": classifier.labels.version,
        "device": str(classifier.placement.device),
        "precision": classifier.placement.precision,
    }


class _AnnouncingServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._announce()
