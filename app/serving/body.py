"""A request's body, in any of the three forms that carry images.

Nothing is decoded here: each image becomes a function that gives its bytes, which the engine
calls in its pool. A body never holds more bytes in memory than the limit allows, and never
touches the disk.
"""

import base64
import binascii
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from app.core.labels import nearest
from app.errors import (
    BodyTooLargeError,
    ImageError,
    MalformedBodyError,
    OptionError,
    UnsupportedMediaError,
)
from app.serving.engine import Source
from app.serving.schemas import JsonImage, Options
from app.settings import Settings

MAX_PARTS = 2000
MAX_FIELD_BYTES = 64 * 1024
IMAGES_FIELD = "images"

Opts = TypeVar("Opts", bound=Options)
RunBeside = Callable[[Callable[[], Any]], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Upload:
    """One image as it was sent.

    Attributes:
        id: how its result is named.
        source: gives the bytes, or raises ImageError.
    """

    id: str
    source: Source


async def read_uploads(
    request: Request, options: type[Opts], json_body: type[Opts], settings: Settings, run: RunBeside
) -> tuple[list[Upload], Opts]:
    """Read a request that carries images.

    Args:
        request: not yet read.
        options: the endpoint's options, as form fields or query parameters give them.
        json_body: the endpoint's JSON form, which holds `images` as well.
        settings: the limits.
        run: runs a function beside the event loop.

    Returns:
        The images in the order sent and the options.

    Raises:
        MalformedBodyError: the body does not parse.
        UnsupportedMediaError: the content type carries no images.
        BodyTooLargeError: the body is over its limit.
        OptionError: an option, an image's form or the number of images is not allowed.
    """
    media_type = _media_type(request)
    if media_type == "application/json":
        body = await read_json(request, json_body, settings, run)
        images: Sequence[JsonImage] | None = getattr(body, IMAGES_FIELD)
        uploads = _json_uploads(images or (), settings)
        return uploads, body
    if media_type == "multipart/form-data":
        _refuse_query(request, "form fields")
        files, fields = await _read_form(request, settings)
        return _file_uploads(files, settings), parse_options(options, fields)
    if media_type.startswith("image/"):
        parsed = parse_options(options, _query(request))
        data = await _read_bytes(request, settings)
        return [Upload("0", lambda: data)], parsed
    raise UnsupportedMediaError(
        f"the content type is {media_type or 'missing'!r}; send multipart/form-data with parts "
        f"named {IMAGES_FIELD!r}, application/json, or one image as image/jpeg, image/png, ..."
    )


async def read_json(
    request: Request, model: type[Opts], settings: Settings, run: RunBeside
) -> Opts:
    """Read a JSON body into a model; the errors are those of `read_uploads`."""
    _refuse_query(request, "the JSON object")
    data = await _read_bytes(request, settings)

    def parse() -> Any:
        try:
            return from_json(data, allow_inf_nan=False)
        except ValueError as error:
            raise MalformedBodyError(f"the body is not JSON: {error}") from error

    parsed = await run(parse)
    if not isinstance(parsed, dict):
        raise MalformedBodyError("the body must be a JSON object, {...}")
    return _validated(model, parsed)


def parse_options(model: type[Opts], fields: Mapping[str, Sequence[str]]) -> Opts:
    """Read options from repeated text fields, as forms and queries have them.

    Raises:
        OptionError: a name is unknown, a single value is given twice, or a value is not allowed.
    """
    raw: dict[str, Any] = {}
    for name, values in fields.items():
        repeated = name in model.model_fields and "tuple" in str(
            model.model_fields[name].annotation
        )
        if not repeated and len(values) > 1:
            raise OptionError(name, f"given {len(values)} times; give it once")
        raw[name] = list(values) if repeated else values[0]
    return _validated(model, raw)


def _validated(model: type[Opts], raw: Mapping[str, Any]) -> Opts:
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise _option_error(model, error) from error


def _option_error(model: type[BaseModel], error: ValidationError) -> OptionError:
    first = error.errors(include_url=False)[0]
    field = ".".join(map(str, first["loc"])) or "options"
    if first["type"] == "extra_forbidden":
        known = sorted(model.model_fields)
        close = nearest(str(first["loc"][-1]), known)
        hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(known)}"
        return OptionError(field, f"there is no such option; {hint}")
    if first["type"] == "missing":
        return OptionError(field, "is missing")
    got = "" if isinstance(first["input"], dict) else f", got {_shown(first['input'])}"
    return OptionError(field, f"{first['msg'].removeprefix('Value error, ')}{got}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


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
    received = int(announced) if announced.isdigit() else 0
    error = BodyTooLargeError(f"a request may have at most {max_bytes} bytes; send fewer images")
    if received > max_bytes:
        raise error
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > max_bytes:
            raise error
        yield chunk


async def _read_bytes(request: Request, settings: Settings) -> bytes:
    chunks = [chunk async for chunk in _limited(request, settings.max_request_bytes)]
    data = b"".join(chunks)
    if not data:
        raise MalformedBodyError("the body is empty")
    return data


class _FormParser(MultiPartParser):
    """Keeps files in memory (the body is bounded) and knows whether the end was reached."""

    spool_max_size = 2**62
    complete = False

    def on_end(self) -> None:
        self.complete = True


async def _read_form(
    request: Request, settings: Settings
) -> tuple[list[UploadFile], dict[str, list[str]]]:
    parser = _FormParser(
        request.headers,
        _limited(request, settings.max_request_bytes),
        max_files=MAX_PARTS,
        max_fields=MAX_PARTS,
        max_part_size=MAX_FIELD_BYTES,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise MalformedBodyError(f"the multipart body cannot be read: {error.message}") from error
    if not parser.complete:
        raise MalformedBodyError("the multipart body ends before its closing boundary")
    files: list[UploadFile] = []
    fields: dict[str, list[str]] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile) and name == IMAGES_FIELD:
            files.append(value)
        elif isinstance(value, UploadFile):
            raise OptionError(name, f"a file part must be named {IMAGES_FIELD!r}")
        elif name == IMAGES_FIELD:
            raise OptionError(name, "must be file parts, each with a file name")
        else:
            fields.setdefault(name, []).append(value)
    return files, fields


def _file_uploads(files: Sequence[UploadFile], settings: Settings) -> list[Upload]:
    _check_count(len(files), settings)
    times = Counter(file.filename for file in files)
    return [
        Upload(
            file.filename if file.filename and times[file.filename] == 1 else str(index),
            file.file.read,
        )
        for index, file in enumerate(files)
    ]


def _json_uploads(images: Sequence[JsonImage], settings: Settings) -> list[Upload]:
    _check_count(len(images), settings)
    ids = [str(index) if image.id is None else image.id for index, image in enumerate(images)]
    id, times = Counter(ids).most_common(1)[0]
    if times > 1:
        raise OptionError(IMAGES_FIELD, f"the id {id!r} is given to {times} images; use it once")
    return [
        Upload(id, partial(_json_bytes, image, settings.max_image_bytes))
        for id, image in zip(ids, images, strict=True)
    ]


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
