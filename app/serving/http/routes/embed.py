"""POST /embed: embeddings of images, or of texts without a template."""

import base64
import io
from collections.abc import Sequence

import numpy as np
import torch
from fastapi import APIRouter, Request, Response
from torch import Tensor

from app.core.classifier import Classifier
from app.errors import ImageError, OptionError, UnusableImagesError
from app.serving.http.openapi import image_operation
from app.serving.http.responses import answer_within, build_results, embed_uploads
from app.serving.inference import EmbeddedImage, Engine
from app.serving.request import RequestDependencies, Upload, read_uploads
from app.serving.schemas import EmbedBody, EmbedOptions, EmbedResponse, EmbedResult, model_info

NPY = "application/x-npy"


def embed_router(engine: Engine, dependencies: RequestDependencies) -> APIRouter:
    """Build the router of POST /embed."""
    router = APIRouter(tags=["images"])
    settings = dependencies.settings

    @router.post(
        "/embed",
        summary="Embed photos or texts",
        response_model=EmbedResponse,
        response_model_exclude_none=True,
        **image_operation(
            EmbedOptions, EmbedBody, example={"encoding": "float"}, answers={NPY: {}}
        ),
    )
    async def embed(request: Request, response: Response) -> EmbedResponse | Response:
        uploads, options = await read_uploads(request, EmbedOptions, EmbedBody, dependencies)
        served = engine.models.current
        as_npy = NPY in request.headers.get("accept", "")
        if isinstance(options, EmbedBody) and options.texts is not None:
            most = settings.max_zero_shot_labels
            if len(options.texts) > most:
                raise OptionError(
                    "texts", f"{len(options.texts)} were sent; at most {most} are allowed"
                )
            rows = await answer_within(
                request, settings.request_timeout_s, engine.texts.embed(served, options.texts)
            )
            return _npy(rows) if as_npy else _texts_response(served.classifier, rows, options)
        outcomes, timing = await answer_within(
            request, settings.request_timeout_s, embed_uploads(request, engine, served, uploads)
        )
        response.headers["Server-Timing"] = timing
        if as_npy:
            return _npy(_stack_embeddings(uploads, outcomes), timing)

        def build(id: str, image: EmbeddedImage) -> EmbedResult:
            return EmbedResult(
                id=id,
                width=image.width,
                height=image.height,
                dimension=served.classifier.dimension,
                embedding=_written(image.embedding, options),
            )

        return EmbedResponse(
            model=model_info(served.classifier), results=build_results(uploads, outcomes, build)
        )

    return router


def _texts_response(classifier: Classifier, rows: Tensor, options: EmbedOptions) -> EmbedResponse:
    return EmbedResponse(
        model=model_info(classifier),
        results=[
            EmbedResult(
                id=str(index),
                dimension=classifier.dimension,
                embedding=_written(row, options),
            )
            for index, row in enumerate(rows)
        ],
    )


def _stack_embeddings(
    uploads: Sequence[Upload], outcomes: Sequence[EmbeddedImage | ImageError]
) -> Tensor:
    """Stack embeddings to (N, D). Raise on any bad image, since later rows would shift."""
    bad = [
        (upload.id, outcome)
        for upload, outcome in zip(uploads, outcomes, strict=True)
        if isinstance(outcome, ImageError)
    ]
    if bad:
        raise UnusableImagesError(bad)
    return torch.stack([o.embedding for o in outcomes if isinstance(o, EmbeddedImage)])


def _npy(rows: Tensor, timing: str | None = None) -> Response:
    file = io.BytesIO()
    np.save(file, rows.numpy().astype("<f4"), allow_pickle=False)
    headers = {"Server-Timing": timing} if timing else None
    return Response(file.getvalue(), media_type=NPY, headers=headers)


def _written(row: Tensor, options: EmbedOptions) -> list[float] | str:
    values = row.numpy().astype("<f4")
    if options.encoding == "base64":
        return base64.b64encode(values.tobytes()).decode("ascii")
    return [float(value) for value in values]
