"""POST /gallery: choose the photos that a listing shows first."""

import torch
from fastapi import APIRouter, Request, Response

from app.applications.gallery import category_weights, check_count, choose_gallery, flaw_error
from app.errors import ImageError, UnusableImagesError
from app.serving.http.openapi import image_operation
from app.serving.http.responses import answer_within, build_results, embed_uploads
from app.serving.inference import EmbeddedImage, Engine
from app.serving.request import RequestDependencies, read_uploads
from app.serving.schemas import (
    GalleryBody,
    GalleryOptions,
    GalleryResponse,
    MeasuredPhoto,
    gallery_response,
    measured_photo,
    model_info,
)

# A PNG of 288 x 288 pixels, the drawing of a house: the smaller example would count as blurred.
EXAMPLE_PHOTO = (
    "iVBORw0KGgoAAAANSUhEUgAAASAAAAEgAQAAAAA8+JMtAAACDUlEQVR42u3XMW7DMAyFYZZLj+0cxUfREXIEjxk1"
    "ZBAMWe6QxCZFPtsoupVZogofpOhv00RfK50/mAIFChTo9+h2Aa3pAmrTBVTzBfR4XkBTu4CS81907R9EQz9lVlqJ"
    "0ul2jWg6RZUon6IH0fMUTUTtFCWi9TQBkW3AtoBtwLaAbcC2gG3AtoBtwLaAbcC2gNPAKWAasFPANGCngGnATgHT"
    "oENFPQF0fz3Nhyip1w8SfGaHgwRrt6K7XVO/HYDqZ5APUDEDB90/g/kAJXMCJ8E+PcAEq7Om2a51f6EuqvswQ1Tc"
    "YYfu+3CGKLln6BLI+QEkWMGqartm3qUOqhJlgArIodBdohmgROgUoIBqwKifXJdBAdWAQQHVgEEB9SODAqoBgwL6"
    "HKiAbMCogFyZUQHZgFEB2YBRATnBqIBswKiAOgksIBowLCDWZlhANGBYQDRgWEBMMSwgGjAsIM+CC+wNGBfYV2dc"
    "YG/AuMDegHGBfZLdD5Nu+Q8aPbR0Cfyvz4NKAFBS2zUfTQpVH2WFio+KQtlHVaHRR4tKgK4Qg0gAURLbNYQmgSpC"
    "WaCCUBEoI1QFGhFaRAJ8jRq2BAcobds1jKYNVYzyhgpGZUMZo7qhEaNlS3B0lRzeCQ5Rem/XjtAk3nfua/9Gt7K4"
    "wAcKFChQoECB/hy9vnfcolOgQIECBQoUKFCgQIEC/Vv0A32n1KZVsWdWAAAAAElFTkSuQmCC"
)


def gallery_router(engine: Engine, dependencies: RequestDependencies) -> APIRouter:
    """Build the router of POST /gallery."""
    router = APIRouter(tags=["images"])
    settings = dependencies.settings

    @router.post(
        "/gallery",
        summary="Choose the photos that a listing shows first",
        response_model=GalleryResponse,
        response_model_exclude_none=True,
        **image_operation(
            GalleryOptions,
            GalleryBody,
            example={"images": [{"id": "house", "data": EXAMPLE_PHOTO}], "count": 1},
        ),
    )
    async def gallery(request: Request, response: Response) -> GalleryResponse:
        uploads, options = await read_uploads(request, GalleryOptions, GalleryBody, dependencies)
        count = check_count(options.count, len(uploads))
        served = engine.models.current
        labels = served.classifier.labels
        weights = category_weights(
            labels, options.weights if isinstance(options, GalleryBody) else {}
        )
        outcomes, timing = await answer_within(
            request,
            settings.request_timeout_s,
            embed_uploads(request, engine, served, uploads, with_quality=True),
        )
        response.headers["Server-Timing"] = timing

        def choose() -> GalleryResponse:
            images = [each for each in outcomes if isinstance(each, EmbeddedImage)]
            chosen = choose_gallery(
                torch.stack([image.embedding for image in images]),
                torch.stack([image.logits for image in images]),
                [image.measured_quality for image in images],
                labels,
                weights,
                count,
            )
            if not chosen.choices:
                raise UnusableImagesError(
                    [
                        (upload.id, _error(outcome))
                        for upload, outcome in zip(uploads, outcomes, strict=True)
                    ]
                )
            results = build_results(uploads, outcomes, _measured)
            ids = [result.id for result in results if isinstance(result, MeasuredPhoto)]
            return gallery_response(model_info(served.classifier), chosen, ids, results)

        # Off the event loop: it takes milliseconds.
        return await engine.images.run_in_decode_thread(choose)

    return router


def _measured(id: str, image: EmbeddedImage) -> MeasuredPhoto:
    return measured_photo(id, image.width, image.height, image.measured_quality)


def _error(outcome: EmbeddedImage | ImageError) -> ImageError:
    return outcome if isinstance(outcome, ImageError) else flaw_error(outcome.measured_quality)
