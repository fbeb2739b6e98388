"""Composition root of the server: creates the app from settings and a classifier, and runs it."""

import gc
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import torch
from fastapi import Depends, FastAPI
from fastapi.security import HTTPBearer
from fastapi.telemetry import TelemetryConfig
from pydantic import SecretStr
from starlette.types import Receive, Scope, Send

from app import __version__
from app.core.checkpoint import served_directory
from app.core.classifier import Classifier
from app.core.runtime import keep_freed_memory, set_torch_threads
from app.serving.http import (
    ADMIN_TOKEN,
    METRICS_TOKEN,
    TAGS,
    ApiKeys,
    Check,
    add_middleware,
    add_problem_handlers,
    admin_router,
    api_key,
    describe,
    docs_router,
    embed_router,
    gallery_router,
    health_router,
    label_changes_router,
    labels_router,
    metrics_router,
    model_router,
    operation_id,
    page_router,
    predict_router,
    similar_router,
    token,
    validate_router,
    zero_shot_router,
)
from app.serving.inference import Engine, Reloader, ServedIndex, model_metric_labels
from app.serving.listening import announcement, bind
from app.serving.observability import Metrics, log_to_stderr
from app.serving.process import Server, server_config
from app.serving.request import ByteBudget, Fetcher, RequestDependencies
from app.settings import Settings, cores_per_worker

if TYPE_CHECKING:
    from app.serving.observability.tracing import Tracing

# By default, FastAPI also logs failed validation and reads FASTAPI_OTEL_AUTO_CONFIGURE.
NO_TELEMETRY: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "auto_configure": False,
}


class MumicApp(FastAPI):
    """FastAPI with a complete OpenAPI document, behind an optional path prefix.

    The document includes the bodies parsed outside FastAPI. Without a configured prefix, all
    addresses in it and on /docs are relative, so the app works below any prefix that a proxy
    removes.

    Attributes:
        root_prefix: removed from the path of a request; for proxies that keep it.
    """

    root_prefix = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, with or without the prefix in its path."""
        if scope["type"] == "http" and scope["path"].startswith(f"{self.root_prefix}/"):
            scope["path"] = scope["path"].removeprefix(self.root_prefix)
        await super().__call__(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """Return the document, which is built once."""
        if self.openapi_schema is None:
            self.openapi_schema = describe(self)
        return self.openapi_schema


def run_server(settings: Settings, announce: Callable[[str], None]) -> None:
    """Serve in this process until a signal stops it.

    Args:
        settings: the server's settings.
        announce: called with one line once requests are answered.

    Raises:
        OptionError: the address is in use or does not belong to this machine.
        MumicError: the checkpoint cannot be served; the port was never opened.
    """
    cores = _prepare_process(settings)
    # Bind first, since it fails fast; the socket listens only once the model is loaded.
    with bind(settings.host, settings.port) as bound:
        classifier = load_classifier(settings)
        line = announcement(settings, bound, model_metric_labels(classifier))
        config = server_config(create_app(settings, classifier, cores), settings)
        _freeze_garbage_collector()
        Server(config, lambda: announce(line)).run(sockets=[bound])


def create_worker(settings: Settings) -> FastAPI:
    """Create the app of one of several server processes, with its share of the CPU cores.

    Raises:
        MumicError: the checkpoint cannot be served.
    """
    log_to_stderr(settings.log_format)
    cores = _prepare_process(settings)
    app = create_app(settings, load_classifier(settings), cores)
    _freeze_garbage_collector()
    return app


def load_classifier(settings: Settings) -> Classifier:
    """Load the checkpoint that the settings name, with the labels that were added to it.

    Raises:
        CheckpointError: the checkpoint is invalid or was altered.
        LabelSetError: its label set is invalid.
        OptionError: the device or precision is unknown or not available.
    """
    return Classifier.load(
        served_directory(settings.checkpoint, settings.labels_dir),
        device=settings.device,
        precision=settings.precision,
        text_cache_size=settings.text_cache_size,
    )


def create_app(settings: Settings, classifier: Classifier, cores: int = 1) -> FastAPI:
    """Create the app. Its lifespan starts and stops the inference engine.

    Args:
        settings: the server's settings.
        classifier: the loaded checkpoint.
        cores: CPU cores that torch may use.

    Raises:
        PhotoIndexError: the index that the settings name cannot be used with the checkpoint.
    """
    metrics = Metrics()
    engine = Engine(classifier, settings, metrics, cores)
    index = _open_index(settings, engine, metrics)

    def load_for_reload(settings: Settings) -> Classifier:
        loaded = load_classifier(settings)
        if index:
            index.prepare(loaded)
        return loaded

    reloader = Reloader(engine, settings, metrics, load_for_reload)
    tracing = _start_tracing(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        engine.start()
        with ExitStack() as running:
            running.enter_context(reloader.on_hangup())
            if index:
                running.enter_context(index.following())
            # For the responses that connections write without the app.
            yield {"allow_origins": settings.cors_allow_origins}
        await engine.close()
        if tracing:
            tracing.flush()

    app = MumicApp(
        title="MuMIC",
        version=__version__,
        summary="Tags photos with any labels",
        openapi_tags=TAGS,
        generate_unique_id_function=operation_id,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        # By default relative to the document: right behind any prefix that a proxy removes.
        servers=[{"url": settings.root_path or "."}],
        redirect_slashes=False,  # a redirect would send clients to the host of their Host header
        telemetry=NO_TELEMETRY | tracing.telemetry if tracing else NO_TELEMETRY,
    )
    app.root_prefix = settings.root_path
    budget = ByteBudget(
        settings.max_queued_bytes, engine.admission.retry_after_s, metrics.requests.set_body_bytes
    )
    add_middleware(app, metrics, budget, settings.cors_allow_origins)
    if tracing:
        app.add_middleware(tracing.complete_spans)
    add_problem_handlers(app)
    _add_routes(app, settings, engine, metrics, reloader, index)
    return app


def _add_routes(
    app: FastAPI,
    settings: Settings,
    engine: Engine,
    metrics: Metrics,
    reloader: Reloader,
    index: ServedIndex | None,
) -> None:
    dependencies = RequestDependencies(
        settings,
        engine.images.run_in_decode_thread,
        engine.admission.refuse_when_full,
        Fetcher(settings) if settings.allow_image_urls else None,
    )
    clients = api_key(ApiKeys(path)) if (path := settings.api_keys_file) else None
    for router in (
        predict_router(engine, dependencies),
        embed_router(engine, dependencies),
        zero_shot_router(engine, dependencies),
        gallery_router(engine, dependencies),
        validate_router(engine, dependencies),
        similar_router(engine, dependencies, index, metrics),
        labels_router(engine),
        model_router(engine),
    ):
        app.include_router(router, **_require(clients))
    app.include_router(label_changes_router(engine, dependencies, reloader))
    app.include_router(docs_router())
    if settings.serves_page:
        app.include_router(page_router(settings))
    app.include_router(health_router(engine))
    monitors = _bearer_token(settings.metrics_token, METRICS_TOKEN)
    app.include_router(metrics_router(metrics, engine), **_require(monitors))
    operators = _bearer_token(settings.admin_token, ADMIN_TOKEN)
    if operators and settings.workers == 1:  # a request reaches only one of several workers
        app.include_router(admin_router(engine, reloader), **_require(operators))


def _open_index(settings: Settings, engine: Engine, metrics: Metrics) -> ServedIndex | None:
    if settings.index is None:
        return None
    from app.index import IndexReader

    return ServedIndex(IndexReader(settings.index), engine.models, metrics)


def _start_tracing(settings: Settings) -> "Tracing | None":
    if not settings.traces:
        return None
    from app.serving.observability.tracing import Tracing

    return Tracing()


def _bearer_token(secret: SecretStr | None, scheme: HTTPBearer) -> Check | None:
    return None if secret is None else token(secret.get_secret_value(), scheme)


def _require(check: Check | None) -> dict[str, Any]:
    """Return `include_router` arguments that enforce a check."""
    return {} if check is None else {"dependencies": [Depends(check)]}


def _prepare_process(settings: Settings) -> int:
    """Configure memory and threads before anything is loaded; return this process's CPU cores."""
    keep_freed_memory()
    cores = min(torch.get_num_threads(), cores_per_worker(settings.workers))
    set_torch_threads(1)  # see app/core/runtime/threads.py
    return cores


def _freeze_garbage_collector() -> None:
    """Exclude the loaded libraries and the model from garbage collection."""
    gc.collect()
    gc.freeze()
