"""POST /validate: compare the declared facilities of a listing with its photos."""

import asyncio

import torch
from fastapi import APIRouter, Request, Response

from app.applications.validation import make_rules, prompts_of, read_declared, validate_listing
from app.errors import OptionError
from app.serving.http.openapi import image_operation
from app.serving.http.responses import answer_within, build_results, embed_uploads
from app.serving.inference import EmbeddedImage, Engine
from app.serving.request import RequestDependencies, read_uploads
from app.serving.schemas import (
    ValidateBody,
    ValidatedPhoto,
    ValidateOptions,
    ValidateResponse,
    model_info,
    validate_response,
)


def validate_router(engine: Engine, dependencies: RequestDependencies) -> APIRouter:
    """Build the router of POST /validate."""
    router = APIRouter(tags=["images"])
    settings = dependencies.settings

    @router.post(
        "/validate",
        summary="Compare declared facilities with photos",
        response_model=ValidateResponse,
        response_model_exclude_none=True,
        **image_operation(
            ValidateOptions,
            ValidateBody,
            example={"declared": ["swimming_pool", "Gym", "a balcony with a view"]},
        ),
    )
    async def validate(request: Request, response: Response) -> ValidateResponse:
        uploads, options = await read_uploads(request, ValidateOptions, ValidateBody, dependencies)
        most = settings.max_zero_shot_labels
        if len(options.declared) > most:
            raise OptionError(
                "declared", f"{len(options.declared)} were sent; at most {most} are allowed"
            )
        served = engine.models.current
        classifier, label_set = served.classifier, served.classifier.labels
        candidates = options.candidates(label_set)
        scoring = classifier.choose_scoring()
        metrics = classifier.checkpoint.card.metrics
        rules = make_rules(label_set, scoring, options.min_confidence, metrics)
        # Off the event loop: cleaning a thousand texts takes up to seconds.
        facilities = await asyncio.to_thread(read_declared, options.declared, label_set)
        prompts = prompts_of(facilities, label_set.template)

        async def work() -> ValidateResponse:
            text_embeddings = (
                await engine.texts.embed(served, prompts)
                if prompts
                else torch.empty(0, classifier.dimension)
            )
            outcomes, timing = await embed_uploads(request, engine, served, uploads)
            response.headers["Server-Timing"] = timing
            images = [each for each in outcomes if isinstance(each, EmbeddedImage)]

            def build(id: str, image: EmbeddedImage) -> ValidatedPhoto:
                return ValidatedPhoto(id=id, width=image.width, height=image.height)

            def compare() -> ValidateResponse:
                validation = validate_listing(
                    facilities,
                    label_set,
                    torch.stack([image.logits for image in images]),
                    classifier.zero_shot(
                        torch.stack([image.embedding for image in images]),
                        text_embeddings,
                        scoring,
                    ),
                    rules,
                    candidates,
                )
                results = build_results(uploads, outcomes, build)
                return validate_response(model_info(classifier), results, validation)

            # Off the event loop: building tens of thousands of scores would block it.
            return await engine.images.run_in_decode_thread(compare)

        return await answer_within(request, settings.request_timeout_s, work())

    return router
