"""Composition root of the server: settings and a classifier in, an ASGI app out."""

import math
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
from app.errors import OptionError
from app.serving.engine import Engine
from app.serving.metrics import Metrics
from app.serving.middleware import RequestContext
from app.serving.openapi import describe
from app.serving.problems import add_problem_handlers
from app.serving.routes.embed import embed_router
from app.serving.routes.info import info_router
from app.serving.routes.predict import predict_router
from app.serving.routes.zero_shot import zero_shot_router
from app.settings import Settings

# Longer than the 60 s of usual load balancers: whoever closes an idle connection first must be
# the client, or a request that is just being sent is lost with it.
KEEP_ALIVE_S = 75


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
    metrics.name_model(
        name=classifier.checkpoint.card.name,
        version=classifier.checkpoint.card.version,
        labels_version=classifier.labels.version,
        device=str(classifier.placement.device),
        precision=classifier.placement.precision,
    )

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


def run_server(settings: Settings, announce: Callable[[str], None]) -> None:
    """Serve until a signal stops it.

    Args:
        settings: what to serve, where and how.
        announce: given the one line that says so, once requests are answered.

    Raises:
        OptionError: the address is taken or is none of this machine's.
        MumicError: the checkpoint cannot be served; nothing has listened yet.
    """
    keep_freed_memory()
    cores = torch.get_num_threads()
    torch.set_num_threads(1)  # app/core/threads.py says why
    # Bound first, since that is quick to fail; it listens once the model is ready.
    with _bind(settings.host, settings.port) as bound:
        classifier = load_classifier(settings)
        card, placement = classifier.checkpoint.card, classifier.placement
        config = uvicorn.Config(
            create_app(settings, classifier, cores),
            host=settings.host,
            log_config=None,
            access_log=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=math.ceil(settings.request_timeout_s),
        )
        served = (
            f"checkpoint {card.name} {card.version} ({settings.checkpoint}), "
            f"{placement.device} {placement.precision}"
        )
        server = _AnnouncingServer(
            config, lambda url: announce(f"MuMIC listens on {url}: {served}")
        )
        server.run(sockets=[bound])


def _bind(host: str, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise OptionError("port", f"cannot listen on {host}:{port}: {error.strerror}") from error
    return bound


class _AnnouncingServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, announce: Callable[[str], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            port = self.servers[0].sockets[0].getsockname()[1]
            self._announce(f"http://{self.config.host}:{port}")
