"""What an operator may do; there only where a token is set."""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request

from app.errors import OptionError
from app.serving.http.openapi import problem_responses
from app.serving.inference import Engine, Reloader
from app.serving.schemas import ModelInfo, model_info

# In the query: a body would be read before anybody asks who sends it.
Checkpoint = Annotated[
    str,
    Query(description="a directory on the server; default: the one that it was started with"),
]


def admin_router(engine: Engine, reloader: Reloader) -> APIRouter:
    """The routes, bound to what they use; whoever includes them says who may."""
    router = APIRouter(prefix="/admin", tags=["administration"])

    @router.post(
        "/reload",
        summary="Answer from another checkpoint, or from the same as it is now on disk",
        response_model=ModelInfo,
        responses=problem_responses(422, 503),
    )
    async def reload(request: Request, checkpoint: Checkpoint = "") -> ModelInfo:
        if unknown := request.query_params.keys() - {"checkpoint"}:  # which would load another
            raise OptionError(min(unknown)[:60], "there is no such option; known: checkpoint")
        await reloader.reload(Path(checkpoint) if checkpoint else None)
        return model_info(engine.served.classifier)

    return router
