"""How a route waits for its answer, and what all image routes do with one."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

from app.errors import DeadlineError, ImageError, UnusableImagesError
from app.serving.inference import EmbeddedImage, Engine, ServedModel
from app.serving.observability import Timings
from app.serving.request import Upload, allowed_s, left_s
from app.serving.schemas import FailedResult, failed_result

T = TypeVar("T")
R = TypeVar("R")


async def answer_within(request: Request, most_s: float, work: Coroutine[None, None, T]) -> T:
    """Await work, but no longer than the deadline and only while the client listens.

    The request's body must have been read. Work that is given up is cancelled, which takes its
    images out of every queue.

    Args:
        request: whose deadline it is.
        most_s: seconds from its arrival, unless it asks for less.
        work: what to await.

    Raises:
        DeadlineError: the time is up.
        ClientDisconnect: the client has left.
    """
    allowed = allowed_s(request, most_s)
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        timeout_s = left_s(request, allowed)
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
    request: Request, engine: Engine, served: ServedModel, uploads: Sequence[Upload]
) -> tuple[list[EmbeddedImage | ImageError], str]:
    """Embed a request's images; its state has each one's `stages` from now on.

    Returns:
        Each image's embedding or error, and the slowest image's times as `Server-Timing`.

    Raises:
        UnusableImagesError: every image has an error.
    """
    request.state.stages = stages = [Timings() for _ in uploads]
    outcomes = await engine.embed(served, [upload.source for upload in uploads], stages)
    embedded = [way for way in stages if way.outcome == "ok"]
    if not embedded:
        raise UnusableImagesError(
            [
                (upload.id, outcome)
                for upload, outcome in zip(uploads, outcomes, strict=True)
                if isinstance(outcome, ImageError)
            ]
        )
    slowest = {
        "decode": max(way.decode_s for way in embedded),
        "queue": max(way.queue_s for way in embedded),
        "infer": max(way.infer_s for way in embedded),
    }
    timing = ", ".join(f"{stage};dur={1000 * s:.1f}" for stage, s in slowest.items())
    return outcomes, timing


def build_results(
    uploads: Sequence[Upload],
    outcomes: Sequence[EmbeddedImage | ImageError],
    build: Callable[[str, EmbeddedImage], R],
) -> list[R | FailedResult]:
    """Results in the order sent: what `build` makes of an embedded image, or its error."""
    return [
        failed_result(upload.id, outcome)
        if isinstance(outcome, ImageError)
        else build(upload.id, outcome)
        for upload, outcome in zip(uploads, outcomes, strict=True)
    ]


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
