"""POST /predict: tag photos with the label set of the checkpoint."""

from fastapi import APIRouter, Request, Response

from app.serving.http.openapi import image_operation
from app.serving.http.responses import answer_within, build_results, embed_uploads
from app.serving.inference import EmbeddedImage, Engine
from app.serving.request import RequestDependencies, read_uploads
from app.serving.schemas import (
    PredictBody,
    PredictOptions,
    PredictResponse,
    PredictResult,
    model_info,
    predict_result,
)


def predict_router(engine: Engine, dependencies: RequestDependencies) -> APIRouter:
    """Build the router of POST /predict."""
    router = APIRouter(tags=["images"])
    settings = dependencies.settings

    @router.post(
        "/predict",
        summary="Tag photos with the checkpoint's labels",
        response_model=PredictResponse,
        **image_operation(PredictOptions, PredictBody, example={"max_labels": 5}),
    )
    async def predict(request: Request, response: Response) -> PredictResponse:
        uploads, options = await read_uploads(request, PredictOptions, PredictBody, dependencies)
        served = engine.models.current
        selection = options.selection(served.classifier.labels)
        outcomes, timing = await answer_within(
            request, settings.request_timeout_s, embed_uploads(request, engine, served, uploads)
        )
        response.headers["Server-Timing"] = timing

        def build(id: str, image: EmbeddedImage) -> PredictResult:
            return predict_result(id, image.width, image.height, selection(image.logits))

        return PredictResponse(
            model=model_info(served.classifier), results=build_results(uploads, outcomes, build)
        )

    return router
