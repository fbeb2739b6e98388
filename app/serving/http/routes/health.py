"""What probes and monitors read."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from app.errors import DrainingError, NotReadyError
from app.serving.http.openapi import problem_responses
from app.serving.inference import Engine, Readiness
from app.serving.observability import Metrics
from app.serving.schemas import Health

# The slowest CPU takes seconds for its largest batch; what takes longer will not end.
STUCK_S = 60.0


def health_router(engine: Engine) -> APIRouter:
    """Liveness and readiness, of the engine that is given."""
    router = APIRouter(tags=["information"])
    readiness = Readiness(engine)

    @router.get(
        "/healthz",
        summary="The process is alive and its model is not stuck",
        response_model=Health,
        responses=problem_responses(503),
    )
    async def healthz() -> Health:
        if engine.longest_batch_s > STUCK_S:
            raise NotReadyError(f"the model has worked on one batch for more than {STUCK_S:g} s")
        return Health()

    @router.get(
        "/readyz",
        summary="A golden image that goes the way of all gets its embedding",
        response_model=Health,
        responses=problem_responses(503),
    )
    async def readyz(request: Request) -> Health:
        if getattr(request.state, "stopping", False):  # what has been sent is still answered
            raise DrainingError
        await readiness.check()
        return Health()

    return router


def metrics_router(metrics: Metrics, engine: Engine) -> APIRouter:
    """The metrics that are given, and the device's memory as it is when they are asked for."""
    router = APIRouter(tags=["information"])

    @router.get("/metrics", summary="Prometheus metrics", response_class=PlainTextResponse)
    def read_metrics() -> Response:  # in a thread: about 2000 lines would hold up the event loop
        engine.note_device_memory()
        return Response(metrics.render(), media_type=CONTENT_TYPE_LATEST)

    return router
