"""Reads request bodies with images: multipart form, JSON, or the raw bytes of one image.

Images are not decoded here: each one becomes a function that returns its bytes, which the engine
calls in its thread pool. A body never uses more memory than its limit and never touches the disk.
"""

import asyncio
import codecs
import json
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
from app.serving.request.base64_text import decode_base64
from app.serving.request.deadline import allowed_s, remaining_s
from app.serving.request.multipart import IMAGES_FIELD, File, read_form
from app.serving.request.options import Opts, parse_options, validated
from app.serving.request.url_fetcher import Fetcher
from app.serving.schemas import JsonImage
from app.settings import Settings

# A value of 3 bytes becomes an object of up to 200 bytes. The limit is far above what options and
# images need. It is checked by counting commas and brackets, also those within texts.
MAX_JSON_VALUES = 100_000
JSON = "application/json"
# Not every client knows the type of its bytes; S3's default is the second.
UNTYPED = ("application/octet-stream", "binary/octet-stream")
RunInThread = Callable[[Callable[[], Any]], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Upload:
    """One image of a request.

    Attributes:
        id: the id of its result.
        source: returns the bytes, or raises ImageError.
    """

    id: str
    source: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class RequestDependencies:
    """The dependencies of reading a request.

    Attributes:
        settings: the limits.
        run_in_thread: runs a function off the event loop.
        refuse_when_full: raises OverloadedError if the queue has no place for one more image.
        fetcher: fetches images by URL; None if URLs are not allowed.
    """

    settings: Settings
    run_in_thread: RunInThread
    refuse_when_full: Callable[[], None]
    fetcher: Fetcher | None


async def read_uploads(
    request: Request, options: type[Opts], json_body: type[Opts], dependencies: RequestDependencies
) -> tuple[list[Upload], Opts]:
    """Read a request that carries images.

    Args:
        request: the request, with an unread body.
        options: the endpoint's options, for form fields and query parameters.
        json_body: the endpoint's JSON body, which includes `images`.
        dependencies: limits and collaborators.

    Returns:
        The images in request order, and the options. There are no images if the JSON body may
        omit them and does.

    Raises:
        MalformedBodyError: the body does not parse.
        UnsupportedMediaError: the content type is not supported.
        BodyTooLargeError: the body is over its limit.
        SlowBodyError: the body did not arrive before the deadline.
        DeadlineError: the body arrived, but the deadline passed before it was parsed and its URLs
            were fetched.
        OverloadedError: the queue is full, or the bodies of all requests are over their limit.
        OptionError: an option, an image or the number of images is not allowed.
    """
    allowed = allowed_s(request, dependencies.settings.request_timeout_s)
    request.state.received = False
    try:
        async with asyncio.timeout(remaining_s(request, allowed)):
            return await _read(request, options, json_body, dependencies)
    except TimeoutError as error:
        if request.state.received:
            raise DeadlineError(allowed) from error
        raise SlowBodyError(
            f"not received within {allowed:g} s; send fewer bytes or use a faster connection"
        ) from error


async def _read(
    request: Request, options: type[Opts], json_body: type[Opts], dependencies: RequestDependencies
) -> tuple[list[Upload], Opts]:
    settings = dependencies.settings
    media_type = _media_type(request)
    _refuse_content_coding(request)
    if media_type != JSON or json_body.model_fields[IMAGES_FIELD].is_required():
        # Refuse first: reading the body is the most expensive part of a refusal.
        dependencies.refuse_when_full()
    if media_type == JSON:
        body = await _read_json(request, json_body, dependencies)
        images: Sequence[JsonImage] | None = getattr(body, IMAGES_FIELD)
        return [] if images is None else await _json_uploads(request, images, dependencies), body
    if media_type == "multipart/form-data":
        _refuse_query(request, "form fields")
        data = await _read_bytes(request, settings)
        form = await read_form(request.headers["content-type"], data)
        if not form.files and options.may_omit_images:
            return [], parse_options(options, form.fields)
        return _file_uploads(form.files, settings), parse_options(options, form.fields)
    if media_type.startswith("image/") or media_type in UNTYPED:
        parsed = parse_options(options, request.query_params.multi_items())
        data = await _read_bytes(request, settings)
        return [Upload("0", partial(bytes, data))], parsed
    sent = f"the content type is {media_type[:60]!r}" if media_type else "there is no content type"
    raise UnsupportedMediaError(
        f"{sent}; send multipart/form-data with parts named {IMAGES_FIELD!r}, application/json, or "
        "the bytes of one image as image/jpeg (with curl: -H 'Content-Type: image/jpeg' "
        "--data-binary @photo.jpg)"
    )


def _refuse_content_coding(request: Request) -> None:
    codings = ",".join(request.headers.getlist("content-encoding"))
    if any(coding.strip().lower() not in ("", "identity") for coding in codings.split(",")):
        raise UnsupportedMediaError(
            f"the body has the content encoding {codings[:40]!r}; send it without compression",
            accept_encoding="identity",
        )


async def _read_json(
    request: Request, model: type[Opts], dependencies: RequestDependencies
) -> Opts:
    _refuse_query(request, "the JSON object")
    data = await _read_bytes(request, dependencies.settings)

    def parse() -> Any:
        if sum(map(data.count, (b",", b"[", b"{"))) > MAX_JSON_VALUES:
            raise MalformedBodyError(f"the JSON body may have at most {MAX_JSON_VALUES} values")
        try:
            return from_json(data.removeprefix(codecs.BOM_UTF8), allow_inf_nan=False)
        except ValueError as error:
            encoding = json.detect_encoding(data[:4])
            hint = "" if encoding.startswith("utf-8") else f" (in {encoding}?); send UTF-8"
            raise MalformedBodyError(f"the body is not JSON: {error}{hint}") from error

    parsed = await dependencies.run_in_thread(parse)
    if not isinstance(parsed, dict):
        raise MalformedBodyError("the body must be a JSON object, {...}")
    if isinstance(images := parsed.get(IMAGES_FIELD), list) and images:
        _check_count(len(images), dependencies.settings)  # before pydantic validates each image
    return validated(model, parsed)


def _media_type(request: Request) -> str:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_json = media_type == "text/json" or (
        media_type.startswith("application/") and media_type.endswith("+json")
    )
    return JSON if is_json else media_type


def _refuse_query(request: Request, place: str) -> None:
    if request.query_params:
        name = next(iter(request.query_params))
        raise OptionError(
            name, f"with this content type, options belong in {place}, not in the query"
        )


async def _limited(request: Request, max_bytes: int) -> AsyncGenerator[bytes, None]:
    header = request.headers.get("content-length", "")
    # 20 digits are enough to compare; converting thousands of digits would be slow.
    content_length = int(header.lstrip("0")[:20] or 0) if header.isdecimal() else 0
    error = BodyTooLargeError(f"a request may have at most {max_bytes} bytes; send fewer images")
    if content_length > max_bytes:
        raise error
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > max_bytes:
            raise error
        request.state.body.take(len(chunk))
        yield chunk
    request.state.received = True


async def _read_bytes(request: Request, settings: Settings) -> bytearray:
    data = bytearray()  # grows in place: joined chunks would be in memory twice
    async for chunk in _limited(request, settings.max_request_bytes):
        data += chunk
    if not data:
        raise MalformedBodyError("the body is empty")
    return data


def _file_uploads(files: Sequence[File], settings: Settings) -> list[Upload]:
    _check_count(len(files), settings)
    ids = _unique_ids([file.name for file in files])
    return [
        Upload(id, partial(file.read, settings.max_image_bytes))
        for id, file in zip(ids, files, strict=True)
    ]


def _unique_ids(names: Sequence[str | None]) -> list[str]:
    """Choose the ids of images.

    An image is called by its name, or by its index if it has none. If a name is given again, or an
    index is also a name, `#2`, `#3`, ... is added; a name that an image really has is not used.
    """
    reserved = {name for name in names if name is not None}
    used: set[str] = set()
    copies: Counter[str] = Counter()
    ids = []
    for index, name in enumerate(names):
        base = id = str(index) if name is None else name
        is_free = id not in (reserved if name is None else used)
        while not is_free:
            copies[base] += 1
            id = f"{base}#{copies[base] + 1}"
            is_free = id not in used and id not in reserved
        used.add(id)
        ids.append(id)
    return ids


async def _json_uploads(
    request: Request, images: Sequence[JsonImage], dependencies: RequestDependencies
) -> list[Upload]:
    _check_count(len(images), dependencies.settings)
    ids = [image.id for image in images]
    for id, count in Counter(ids).most_common(2):
        if count > 1 and id is not None:
            raise OptionError(
                IMAGES_FIELD, f"{count} images have the id {id!r}; ids must be unique"
            )
    sources = [
        partial(_json_bytes, image, dependencies.settings.max_image_bytes) for image in images
    ]
    if dependencies.fetcher is not None:
        sources = await _with_fetched(request, images, sources, dependencies.fetcher)
    return [Upload(id, source) for id, source in zip(_unique_ids(ids), sources, strict=True)]


async def _with_fetched(
    request: Request,
    images: Sequence[JsonImage],
    sources: Sequence[partial[bytes]],
    fetcher: Fetcher,
) -> list[partial[bytes]]:
    """Fetch all URLs concurrently; return the sources with each URL's replaced by its image."""

    async def fetched(url: str) -> partial[bytes]:
        try:
            return partial(bytes, await fetcher.fetch(url, request.state.body.take))
        except ImageError as error:
            return partial(_raise, error)

    tasks = {
        index: asyncio.create_task(fetched(image.url))
        for index, image in enumerate(images)
        if image.url is not None
    }
    try:
        await asyncio.gather(*tasks.values())
    finally:
        for task in tasks.values():
            task.cancel()
    return [
        tasks[index].result() if index in tasks else source for index, source in enumerate(sources)
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
        raise ImageError("url_not_allowed", "image URLs are disabled; send the data as base64")
    return decode_base64(image.data, max_bytes)
