"""POST /similar: the photos of an index that look like a photo or fit a text."""

import time
from collections.abc import Callable

import torch
from fastapi import APIRouter, Request, Response
from torch import Tensor

from app.applications.similarity import Match
from app.errors import NoIndexError, OptionError
from app.serving.http.openapi import image_operation
from app.serving.http.responses import answer_within, build_results, embed_uploads
from app.serving.inference import EmbeddedImage, Engine, ServedIndex
from app.serving.observability import Metrics
from app.serving.request import RequestDependencies, read_uploads
from app.serving.schemas import (
    FailedResult,
    SimilarBody,
    SimilarOptions,
    SimilarResponse,
    SimilarResult,
    index_info,
    model_info,
    similar_result,
)

Results = list[SimilarResult | FailedResult]


def similar_router(
    engine: Engine, dependencies: RequestDependencies, index: ServedIndex | None, metrics: Metrics
) -> APIRouter:
    """Build the router of POST /similar.

    Args:
        engine: embeds the queries.
        dependencies: limits and collaborators.
        index: what is searched; None if the server has no index.
        metrics: observes the time of each search.
    """
    router = APIRouter(tags=["images"])
    settings = dependencies.settings

    async def timed(search: Callable[[], Results]) -> tuple[Results, str]:
        """Run a search off the event loop; return its results and `Server-Timing`."""
        began = time.perf_counter()
        results = await engine.images.run_in_decode_thread(search)
        seconds = time.perf_counter() - began
        metrics.index.observe_search(seconds)
        return results, f"search;dur={1000 * seconds:.1f}"

    @router.post(
        "/similar",
        summary="Find similar photos in the server's index, by photo or by text",
        response_model=SimilarResponse,
        response_model_exclude_none=True,
        **image_operation(SimilarOptions, SimilarBody, example={"count": 3}, errors=[NoIndexError]),
    )
    async def similar(request: Request, response: Response) -> SimilarResponse:
        if index is None:
            raise NoIndexError
        uploads, options = await read_uploads(request, SimilarOptions, SimilarBody, dependencies)
        texts = options.texts if isinstance(options, SimilarBody) else None
        if texts is not None and len(texts) > (most := settings.max_images_per_request):
            raise OptionError("texts", f"{len(texts)} were sent; at most {most} are allowed")
        served = engine.models.current
        search = index.search(served)
        keep = options.label_filter(served.classifier.labels)

        def find(queries: Tensor) -> list[list[Match]]:
            return search.find(
                queries.numpy(), options.count, keep=keep, min_similarity=options.min_similarity
            )

        async def find_by_texts(texts: tuple[str, ...]) -> tuple[Results, str]:
            rows = await engine.texts.embed(served, texts)
            return await timed(
                lambda: [similar_result(str(place), each) for place, each in enumerate(find(rows))]
            )

        async def find_by_images() -> tuple[Results, str]:
            outcomes, timing = await embed_uploads(request, engine, served, uploads)
            rows = torch.stack([o.embedding for o in outcomes if isinstance(o, EmbeddedImage)])

            def build() -> Results:
                found = iter(find(rows))
                return build_results(
                    uploads, outcomes, lambda id, _: similar_result(id, next(found))
                )

            results, search_timing = await timed(build)
            return results, f"{timing}, {search_timing}"

        results, response.headers["Server-Timing"] = await answer_within(
            request,
            settings.request_timeout_s,
            find_by_images() if texts is None else find_by_texts(texts),
        )
        return SimilarResponse(
            model=model_info(served.classifier), index=index_info(search.photos), results=results
        )

    return router
