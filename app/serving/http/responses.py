"""Steps that the image routes share: waiting for the response and building results."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

from app.errors import DeadlineError, ImageError, UnusableImagesError
from app.serving.inference import EmbeddedImage, Engine, ServedModel
from app.serving.observability import Timings
from app.serving.request import Upload, allowed_s, remaining_s
from app.serving.schemas import FailedResult, failed_result

T = TypeVar("T")
R = TypeVar("R")


async def answer_within(request: Request, most_s: float, work: Coroutine[None, None, T]) -> T:
    """Await work until the request's deadline or until its client disconnects.

    The request's body must have been read. Abandoned work is cancelled, which removes its images
    from every queue.

    Args:
        request: the request.
        most_s: seconds from arrival to deadline, unless the request's header sets fewer.
        work: the coroutine to await.

    Raises:
        DeadlineError: the deadline has passed.
        ClientDisconnect: the client has disconnected.
    """
    allowed = allowed_s(request, most_s)
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        timeout_s = remaining_s(request, allowed)
        await asyncio.wait({task, gone}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        if gone.done():
            raise ClientDisconnect
        raise DeadlineError(allowed)
    finally:
        task.cancel()
        gone.cancel()


async def embed_uploads(
    request: Request,
    engine: Engine,
    served: ServedModel,
    uploads: Sequence[Upload],
    *,
    with_quality: bool = False,
) -> tuple[list[EmbeddedImage | ImageError], str]:
    """Embed a request's images and store each image's `timings` in the request's state.

    Args:
        request: the request.
        engine: embeds the images.
        served: the checkpoint.
        uploads: the images.
        with_quality: whether to measure the quality of the images too.

    Returns:
        Each image's embedding or error, and the longest times as a `Server-Timing` value.

    Raises:
        UnusableImagesError: every image has an error.
    """
    request.state.timings = timings = [Timings() for _ in uploads]
    outcomes = await engine.images.embed(
        served, [upload.source for upload in uploads], timings, with_quality=with_quality
    )
    embedded = [timing for timing in timings if timing.outcome == "ok"]
    if not embedded:
        raise UnusableImagesError(
            [
                (upload.id, outcome)
                for upload, outcome in zip(uploads, outcomes, strict=True)
                if isinstance(outcome, ImageError)
            ]
        )
    slowest_s = {
        "decode": max(timing.decode_s for timing in embedded),
        "queue": max(timing.queue_s for timing in embedded),
        "infer": max(timing.infer_s for timing in embedded),
    }
    server_timing = ", ".join(f"{name};dur={1000 * s:.1f}" for name, s in slowest_s.items())
    return outcomes, server_timing


def build_results(
    uploads: Sequence[Upload],
    outcomes: Sequence[EmbeddedImage | ImageError],
    build: Callable[[str, EmbeddedImage], R],
) -> list[R | FailedResult]:
    """Build the results in request order: `build` for an embedded image, or its error."""
    return [
        failed_result(upload.id, outcome)
        if isinstance(outcome, ImageError)
        else build(upload.id, outcome)
        for upload, outcome in zip(uploads, outcomes, strict=True)
    ]


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
