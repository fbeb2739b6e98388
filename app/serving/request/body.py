"""A request's body, in any of the three forms that carry images.

Nothing is decoded here: each image becomes a function that gives its bytes, which the engine
calls in its pool. A body never holds more bytes in memory than the limit allows, and never
touches the disk.
"""

import asyncio
import base64
import binascii
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import Request
from pydantic_core import from_json

from app.errors import (
    BodyTooLargeError,
    DeadlineError,
    ImageError,
    MalformedBodyError,
    OptionError,
    SlowBodyError,
    UnsupportedMediaError,
)
from app.serving.request.deadline import allowed_s, left_s
from app.serving.request.multipart import IMAGES_FIELD, File, read_form
from app.serving.request.options import Opts, parse_options, validated
from app.serving.request.url_fetcher import Fetcher
from app.serving.schemas import JsonImage
from app.settings import Settings

# A value of three bytes becomes an object of up to two hundred. Far more than options and images
# have; the commas of texts count as well.
MAX_JSON_VALUES = 100_000
JSON = "application/json"
RunBeside = Callable[[Callable[[], Any]], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Upload:
    """One image as it was sent.

    Attributes:
        id: how its result is named.
        source: gives the bytes, or raises ImageError.
    """

    id: str
    source: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class RequestDependencies:
    """What reading a request needs.

    Attributes:
        settings: the limits.
        run: runs a function beside the event loop.
        refuse_when_full: raises OverloadedError while not one image more is taken.
        fetcher: of images that are given by URL, where that is allowed.
    """

    settings: Settings
    run: RunBeside
    refuse_when_full: Callable[[], None]
    fetcher: Fetcher | None


async def read_uploads(
    request: Request, options: type[Opts], json_body: type[Opts], dependencies: RequestDependencies
) -> tuple[list[Upload], Opts]:
    """Read a request that carries images.

    Args:
        request: not yet read.
        options: the endpoint's options, as form fields or query parameters give them.
        json_body: the endpoint's JSON form, which holds `images` as well.
        dependencies: limits and helpers.

    Returns:
        The images in the order sent and the options; no images where the JSON form may leave
        them out and does.

    Raises:
        MalformedBodyError: the body does not parse.
        UnsupportedMediaError: the content type carries no images.
        BodyTooLargeError: the body is over its limit.
        SlowBodyError: it did not arrive within the request's time.
        DeadlineError: it did, but was not parsed, or its URLs not fetched, within that.
        OverloadedError: no image is taken, or the bodies of all requests together are over theirs.
        OptionError: an option, an image's form or the number of images is not allowed.
    """
    allowed = allowed_s(request, dependencies.settings.request_timeout_s)
    request.state.received = False
    try:
        async with asyncio.timeout(left_s(request, allowed)):
            return await _read(request, options, json_body, dependencies)
    except TimeoutError as error:
        if request.state.received:
            raise DeadlineError(allowed) from error
        raise SlowBodyError(
            f"not received within {allowed:g} s; send fewer bytes, or over a faster line"
        ) from error


async def _read(
    request: Request, options: type[Opts], json_body: type[Opts], dependencies: RequestDependencies
) -> tuple[list[Upload], Opts]:
    settings = dependencies.settings
    media_type = _media_type(request)
    if media_type != JSON or json_body.model_fields[IMAGES_FIELD].is_required():
        # Refuse first: reading the body is the most expensive part of a refusal.
        dependencies.refuse_when_full()
    if media_type == JSON:
        body = await _read_json(request, json_body, dependencies)
        images: Sequence[JsonImage] | None = getattr(body, IMAGES_FIELD)
        return [] if images is None else await _json_uploads(request, images, dependencies), body
    if media_type == "multipart/form-data":
        _refuse_query(request, "form fields")
        files, fields = await read_form(
            request.headers, _limited(request, settings.max_request_bytes)
        )
        return _file_uploads(files, settings), parse_options(options, fields)
    if media_type.startswith("image/"):
        parsed = parse_options(options, _query(request))
        data = await _read_bytes(request, settings)
        return [Upload("0", lambda: data)], parsed
    raise UnsupportedMediaError(
        f"the content type is {media_type[:60] or 'missing'!r}; send multipart/form-data with "
        f"parts named {IMAGES_FIELD!r}, application/json, or one image as image/jpeg, ..."
    )


async def _read_json(
    request: Request, model: type[Opts], dependencies: RequestDependencies
) -> Opts:
    _refuse_query(request, "the JSON object")
    data = await _read_bytes(request, dependencies.settings)

    def parse() -> Any:
        if sum(map(data.count, (b",", b"[", b"{"))) > MAX_JSON_VALUES:  # a value follows each
            raise MalformedBodyError(f"the JSON may have at most {MAX_JSON_VALUES} values")
        try:
            return from_json(data, allow_inf_nan=False)
        except ValueError as error:
            raise MalformedBodyError(f"the body is not JSON: {error}") from error

    parsed = await dependencies.run(parse)
    if not isinstance(parsed, dict):
        raise MalformedBodyError("the body must be a JSON object, {...}")
    if isinstance(images := parsed.get(IMAGES_FIELD), list) and images:
        _check_count(len(images), dependencies.settings)  # before each of too many is validated
    return validated(model, parsed)


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _query(request: Request) -> dict[str, list[str]]:
    query = request.query_params
    return {name: query.getlist(name) for name in query}


def _refuse_query(request: Request, place: str) -> None:
    if request.query_params:
        name = next(iter(request.query_params))
        raise OptionError(name, f"options of this content type go into {place}, not the query")


async def _limited(request: Request, max_bytes: int) -> AsyncGenerator[bytes, None]:
    announced = request.headers.get("content-length", "")
    # Of a number as long as a head may be the first digits say that it is too large.
    received = int(announced.lstrip("0")[:20] or 0) if announced.isdecimal() else 0
    error = BodyTooLargeError(f"a request may have at most {max_bytes} bytes; send fewer images")
    if received > max_bytes:
        raise error
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > max_bytes:
            raise error
        request.state.body.take(len(chunk))
        yield chunk
    request.state.received = True


async def _read_bytes(request: Request, settings: Settings) -> bytes:
    chunks = [chunk async for chunk in _limited(request, settings.max_request_bytes)]
    data = b"".join(chunks)
    if not data:
        raise MalformedBodyError("the body is empty")
    return data


def _file_uploads(files: Sequence[File], settings: Settings) -> list[Upload]:
    _check_count(len(files), settings)
    ids = _ids([file.name for file in files])
    return [Upload(id, partial(b"".join, file.pieces)) for id, file in zip(ids, files, strict=True)]


def _ids(names: Sequence[str | None]) -> list[str]:
    """Each file's name, or its place where it has none or not for itself; no two are the same.

    Where places are used, a name that is one belongs to nobody.
    """
    times = Counter(names)
    if not all(names) or len(times) < len(names):
        times.update(map(str, range(len(names))))
    return [name if name and times[name] == 1 else str(place) for place, name in enumerate(names)]


async def _json_uploads(
    request: Request, images: Sequence[JsonImage], dependencies: RequestDependencies
) -> list[Upload]:
    _check_count(len(images), dependencies.settings)
    ids = [str(index) if image.id is None else image.id for index, image in enumerate(images)]
    id, times = Counter(ids).most_common(1)[0]
    if times > 1:
        raise OptionError(IMAGES_FIELD, f"the id {id!r} is given to {times} images; use it once")
    sources = [
        partial(_json_bytes, image, dependencies.settings.max_image_bytes) for image in images
    ]
    if dependencies.fetcher is not None:
        sources = await _with_fetched(request, images, sources, dependencies.fetcher)
    return [Upload(id, source) for id, source in zip(ids, sources, strict=True)]


async def _with_fetched(
    request: Request,
    images: Sequence[JsonImage],
    sources: Sequence[partial[bytes]],
    fetcher: Fetcher,
) -> list[partial[bytes]]:
    """The sources, those of URLs with what they name in their places; all are fetched at once."""

    async def fetched(url: str) -> partial[bytes]:
        try:
            return partial(bytes, await fetcher.fetch(url, request.state.body.take))
        except ImageError as error:
            return partial(_raise, error)

    tasks = {
        place: asyncio.create_task(fetched(image.url))
        for place, image in enumerate(images)
        if image.url is not None
    }
    try:
        await asyncio.gather(*tasks.values())
    finally:
        for task in tasks.values():
            task.cancel()
    return [
        tasks[place].result() if place in tasks else source for place, source in enumerate(sources)
    ]


def _raise(error: ImageError) -> bytes:
    raise error


def _check_count(images: int, settings: Settings) -> None:
    most = settings.max_images_per_request
    if images == 0:
        raise OptionError(IMAGES_FIELD, f"no image was sent; send 1 to {most}")
    if images > most:
        raise OptionError(IMAGES_FIELD, f"{images} images were sent; at most {most} are allowed")


def _json_bytes(image: JsonImage, max_bytes: int) -> bytes:
    if image.data is None:
        raise ImageError("url_not_allowed", "image URLs are switched off; send the data as base64")
    if len(image.data) * 3 // 4 > max_bytes + 2:
        raise ImageError("too_many_bytes", f"an image may have at most {max_bytes} bytes")
    try:
        return base64.b64decode(image.data, validate=True)
    except (binascii.Error, ValueError) as error:
        hint = "; send only what follows the comma" if image.data.startswith("data:") else ""
        raise ImageError("invalid_base64", f"data is not base64: {error}{hint}") from error
