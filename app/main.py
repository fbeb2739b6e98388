"""Composition root of the server: settings and a classifier in, an ASGI app out."""

import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import torch
from fastapi import Depends, FastAPI
from pydantic import SecretStr

from app import __version__
from app.core.classifier import Classifier
from app.core.runtime import compute_with, keep_freed_memory
from app.serving.http import (
    ApiKeys,
    Check,
    RequestContext,
    add_problem_handlers,
    admin_router,
    api_key,
    describe,
    docs_router,
    embed_router,
    health_router,
    metrics_router,
    model_router,
    predict_router,
    problem_responses,
    token,
    zero_shot_router,
)
from app.serving.inference import Engine, Reloader, names_of
from app.serving.observability import Metrics, log_to_stderr
from app.serving.process import Server, announcement, bind, server_config
from app.serving.request import ByteBudget, Fetcher, RequestDependencies
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
    reloader = Reloader(engine, settings, metrics, load_classifier)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        engine.start()
        with reloader.on_hangup():
            yield
        await engine.close()
        deliver_spans()

    app = MumicApp(
        title="MuMIC",
        version=__version__,
        summary="Tags photos with any labels",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # to whatever host a client says it asks
    )
    admission = engine.admission
    budget = ByteBudget(settings.max_queued_bytes, admission.retry_after_s, metrics.requests.set_body_bytes)
    app.add_middleware(RequestContext, metrics=metrics, budget=budget)
    deliver_spans = _trace(app, settings)
    add_problem_handlers(app)
    clients = api_key(ApiKeys(path)) if (path := settings.api_keys_file) else None
    fetcher = Fetcher(settings) if settings.allow_image_urls else None
    dependencies = RequestDependencies(
        settings, engine.images.run_in_decode_thread, admission.refuse_when_full, fetcher
    )
    for router in (
        predict_router(engine, dependencies),
        embed_router(engine, dependencies),
        zero_shot_router(engine, dependencies),
        model_router(engine),
    ):
        app.include_router(router, **_guarded_by(clients))
    app.include_router(docs_router())
    app.include_router(health_router(engine))
    monitors = _bearer_of(settings.metrics_token, "MetricsToken")
    app.include_router(metrics_router(metrics, engine), **_guarded_by(monitors))
    operators = _bearer_of(settings.admin_token, "AdminToken")
    if operators and settings.workers == 1:  # it would reach one of them
        app.include_router(admin_router(engine, reloader), **_guarded_by(operators))
    return app


def _trace(app: FastAPI, settings: Settings) -> Callable[[], None]:
    """Trace requests, if the settings say so; gives what to call when the server stops."""
    if not settings.traces:
        return lambda: None
    from app.serving.observability.tracing import trace_requests

    return trace_requests(app)


def _bearer_of(secret: SecretStr | None, scheme_name: str) -> Check | None:
    return None if secret is None else token(secret.get_secret_value(), scheme_name)


def _guarded_by(check: Check | None) -> dict[str, Any]:
    """What a router needs to let those pass alone whom a check lets pass, and to say so."""
    if check is None:
        return {}
    return {"dependencies": [Depends(check)], "responses": problem_responses(401)}


def create_worker(settings: Settings) -> FastAPI:
    """The app of one of several server processes, with its share of the cores.

    Raises:
        MumicError: the checkpoint cannot be served.
    """
    log_to_stderr(settings.log_format)
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
    cores = _prepare_process(settings)
    # Bound first, since that is quick to fail; it listens once the model is ready.
    with bind(settings.host, settings.port) as bound:
        classifier = load_classifier(settings)
        line = announcement(settings, bound, names_of(classifier))
        config = server_config(create_app(settings, classifier, cores), settings)
        _spare_what_stays()
        Server(config, lambda: announce(line)).run(sockets=[bound])


def _prepare_process(settings: Settings) -> int:
    """Set up memory and threads before anything is loaded; gives this process's share of cores."""
    keep_freed_memory()
    # torch's own default respects OMP_NUM_THREADS and physical cores, but no cgroup quota.
    cores = min(torch.get_num_threads(), cores_per_worker(settings.workers))
    compute_with(1)  # app/core/runtime/threads.py says why
    return cores


def _spare_what_stays() -> None:
    """Keep the garbage collector from looking through libraries and model again and again."""
    gc.collect()
    gc.freeze()
