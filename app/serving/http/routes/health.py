"""Health checks and metrics."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from app.errors import DrainingError, NotReadyError
from app.serving.http.openapi import problem_responses
from app.serving.inference import Engine, Readiness
from app.serving.observability import Metrics
from app.serving.schemas import Health

# The slowest CPU needs seconds for its largest batch; after a minute the model is stuck.
STUCK_S = 60.0


def health_router(engine: Engine) -> APIRouter:
    """Build the router of the liveness and readiness checks."""
    router = APIRouter(tags=["information"])
    readiness = Readiness(engine)

    @router.get(
        "/healthz",
        summary="The process is alive and its model is not stuck",
        response_model=Health,
        responses=problem_responses(NotReadyError),
    )
    async def healthz() -> Health:
        if engine.images.longest_batch_s > STUCK_S:
            raise NotReadyError(f"the model has computed one batch for more than {STUCK_S:g} s")
        return Health()

    @router.get(
        "/readyz",
        summary="The model is loaded and a golden image gets its expected embedding",
        response_model=Health,
        responses=problem_responses(DrainingError, NotReadyError),
    )
    async def readyz(request: Request) -> Health:
        if getattr(request.state, "stopping", False):  # open requests are still answered
            raise DrainingError
        await readiness.check()
        return Health()

    return router


def metrics_router(metrics: Metrics, engine: Engine) -> APIRouter:
    """Build the router of GET /metrics."""
    router = APIRouter(tags=["information"])

    @router.get(
        "/metrics",
        name="metrics",
        summary="Prometheus metrics",
        response_class=PlainTextResponse,
    )
    def read_metrics() -> Response:  # not async: FastAPI runs it in a thread (about 2000 lines)
        engine.models.report_device_memory()
        return Response(metrics.render(), media_type=CONTENT_TYPE_LATEST)

    return router
