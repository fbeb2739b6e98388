"""POST /zero-shot: score photos against label texts of the request."""

import asyncio

from fastapi import APIRouter, Request, Response

from app.core.labels import render_distinct
from app.core.model import rank_texts
from app.errors import OptionError
from app.serving.http.openapi import image_operation
from app.serving.http.responses import answer_within, build_results, embed_uploads
from app.serving.inference import EmbeddedImage, Engine
from app.serving.request import RequestDependencies, read_uploads
from app.serving.schemas import (
    Score,
    ZeroShotBody,
    ZeroShotOptions,
    ZeroShotResponse,
    ZeroShotResult,
    model_info,
)


def zero_shot_router(engine: Engine, dependencies: RequestDependencies) -> APIRouter:
    """Build the router of POST /zero-shot."""
    router = APIRouter(tags=["images"])
    settings = dependencies.settings

    @router.post(
        "/zero-shot",
        summary="Score photos against any label texts",
        response_model=ZeroShotResponse,
        **image_operation(
            ZeroShotOptions, ZeroShotBody, example={"labels": ["beach", "swimming pool"]}
        ),
    )
    async def zero_shot(request: Request, response: Response) -> ZeroShotResponse:
        uploads, options = await read_uploads(request, ZeroShotOptions, ZeroShotBody, dependencies)
        most = settings.max_zero_shot_labels
        if len(options.labels) > most:
            raise OptionError(
                "labels", f"{len(options.labels)} were sent; at most {most} are allowed"
            )
        # Off the event loop: cleaning a thousand texts takes up to seconds.
        prompts = await asyncio.to_thread(render_distinct, options.template, options.labels)
        served = engine.models.current
        scoring = served.classifier.choose_scoring(options.scoring)

        async def work() -> ZeroShotResponse:
            text_embeddings = await engine.texts.embed(served, prompts)
            outcomes, timing = await embed_uploads(request, engine, served, uploads)
            response.headers["Server-Timing"] = timing

            def build(id: str, image: EmbeddedImage) -> ZeroShotResult:
                scores = served.classifier.zero_shot(
                    image.embedding[None], text_embeddings, scoring
                )[0]
                return ZeroShotResult(
                    id=id,
                    width=image.width,
                    height=image.height,
                    scores=[
                        Score(label=options.labels[column], confidence=confidence)
                        for column, confidence in rank_texts(scores)
                    ],
                )

            # Off the event loop: building tens of thousands of scores would block it.
            results = await engine.images.run_in_decode_thread(
                lambda: build_results(uploads, outcomes, build)
            )
            return ZeroShotResponse(
                model=model_info(served.classifier), scoring=scoring, results=results
            )

        return await answer_within(request, settings.request_timeout_s, work())

    return router
