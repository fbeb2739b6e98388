"""POST /admin/reload, which exists only if an admin token is set."""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request

from app.errors import DrainingError, OptionError, RefusedCheckpointError
from app.serving.http.openapi import problem_responses
from app.serving.inference import Engine, Reloader
from app.serving.schemas import ModelInfo, model_info

# In the query: FastAPI would read a body before it checks the token.
Checkpoint = Annotated[
    str,
    Query(description="a directory on the server; default: the one that it was started with"),
]


def admin_router(engine: Engine, reloader: Reloader) -> APIRouter:
    """Build the router of /admin. The caller adds the authentication."""
    router = APIRouter(prefix="/admin", tags=["administration"])

    @router.post(
        "/reload",
        summary="Load another checkpoint, or reload the current one from disk",
        response_model=ModelInfo,
        responses=problem_responses(OptionError, RefusedCheckpointError, DrainingError),
    )
    async def reload(request: Request, checkpoint: Checkpoint = "") -> ModelInfo:
        # A mistyped name must not reload the default checkpoint.
        if unknown := request.query_params.keys() - {"checkpoint"}:
            raise OptionError(min(unknown)[:60], "unknown option; known: checkpoint")
        await reloader.reload(Path(checkpoint) if checkpoint else None)
        return model_info(engine.models.current.classifier)

    return router
