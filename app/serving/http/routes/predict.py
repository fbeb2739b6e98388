"""POST /predict: the label set's labels."""

from fastapi import APIRouter, Request, Response
from torch import Tensor

from app.core.labels import Selection, make_selection
from app.serving.http.openapi import image_operation
from app.serving.http.responses import answer_within, build_results, embed_uploads, model_info
from app.serving.inference import EmbeddedImage, Engine
from app.serving.request import RequestDependencies, read_uploads
from app.serving.schemas import (
    PredictBody,
    PredictedLabel,
    PredictOptions,
    PredictResponse,
    PredictResult,
)

DIGITS = 6


def predict_router(engine: Engine, intake: RequestDependencies) -> APIRouter:
    """The route, bound to what it uses."""
    router = APIRouter(tags=["images"])
    settings = intake.settings

    @router.post(
        "/predict",
        summary="Tag photos with the checkpoint's labels",
        response_model=PredictResponse,
        **image_operation(PredictOptions, PredictBody),
    )
    async def predict(request: Request, response: Response) -> PredictResponse:
        uploads, options = await read_uploads(request, PredictOptions, PredictBody, intake)
        by = engine.served
        chosen = options.model_dump(include=set(PredictOptions.model_fields), exclude_defaults=True)
        selection = make_selection(by.classifier.labels, **chosen) if chosen else by.usual
        outcomes, timing = await answer_within(
            request, settings.request_timeout_s, embed_uploads(request, engine, by, uploads)
        )
        response.headers["Server-Timing"] = timing

        def build(id: str, image: EmbeddedImage) -> PredictResult:
            return predict_result(id, image.width, image.height, image.probabilities, selection)

        return PredictResponse(
            model=model_info(by.classifier), results=build_results(uploads, outcomes, build)
        )

    return router


def predict_result(
    id: str, width: int, height: int, probabilities: Tensor, selection: Selection
) -> PredictResult:
    """One photo's labels in the contract's form.

    Args:
        id: how the result is named.
        width: the photo's, in pixels.
        height: likewise.
        probabilities: (C,) float32 in [0, 1].
        selection: which labels to name.
    """
    return PredictResult(
        id=id,
        width=width,
        height=height,
        labels=[
            PredictedLabel(
                id=tag.label.id,
                name=tag.label.name,
                category=tag.label.category,
                confidence=round(tag.confidence, DIGITS),
                threshold=round(tag.threshold, DIGITS),
                parents=tag.label.parents,
            )
            for tag in selection(probabilities)
        ],
    )
