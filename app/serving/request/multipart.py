"""Parses multipart bodies in memory.

The parser runs on the event loop, which is fastest for a few large photos. Everything that makes it
slow is bounded: boundaries, spaces after a boundary, parameters of a header. Between small chunks
with many parts it yields to the event loop.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any

from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from app.errors import MalformedBodyError, OptionError

IMAGES_FIELD = "images"
MAX_PARTS = 2000
MAX_FIELD_BYTES = 64 * 1024
MAX_NAME_CHARS = 256
MAX_BOUNDARIES = 2 * MAX_PARTS + 1  # of MAX_PARTS files, MAX_PARTS fields and the end
MAX_SEMICOLONS = 64  # per header: two or three parameters, and some within a file name
FEW_BOUNDARIES = 16
CHUNK_BYTES = 4096  # full of the shortest possible parts this takes milliseconds


@dataclass(frozen=True, slots=True)
class File:
    """One file part.

    Attributes:
        name: its file name, or None.
        chunks: its bytes as they arrived; they are joined later, off the event loop.
    """

    name: str | None
    chunks: Sequence[bytes]


async def read_form(
    headers: Headers, stream: AsyncGenerator[bytes, None]
) -> tuple[list[File], dict[str, list[str]]]:
    """Read a multipart body.

    Args:
        headers: the request's headers, for the boundary.
        stream: the body; the caller must bound it, since all of it is kept in memory.

    Returns:
        The file parts named `images`, and the values of each field.

    Raises:
        MalformedBodyError: the body does not parse, is truncated, is not UTF-8, or exceeds a limit
            on what is slow to parse.
        OptionError: a file part is not named `images`, a part named `images` is not a file, or a
            file name is too long.
    """
    boundary = _boundary(headers["content-type"])
    parser = _Parser(
        headers,
        _split_dense_chunks(stream, b"\r\n--" + boundary),
        max_files=MAX_PARTS,
        max_fields=MAX_PARTS,
        max_part_size=MAX_FIELD_BYTES,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise MalformedBodyError(f"the multipart body cannot be read: {error.message}") from error
    try:
        return _files_and_fields(form, parser.contents)
    finally:
        await form.close()


class _Parser(MultiPartParser):
    """Keeps files in memory, and refuses a body that ends before its closing boundary.

    Attributes:
        contents: the chunks of each file; starlette would write them to temporary files.
    """

    _complete = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.contents: dict[UploadFile, list[bytes]] = {}

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        file = self._current_part.file
        if file is None:
            super().on_part_data(data, start, end)
        else:
            self.contents.setdefault(file, []).append(data[start:end])

    def on_headers_finished(self) -> None:
        if (self._current_part.content_disposition or b"").count(b";") > MAX_SEMICOLONS:
            raise MultiPartException(
                f"a part's Content-Disposition has more than {MAX_SEMICOLONS} semicolons"
            )
        super().on_headers_finished()

    def on_part_end(self) -> None:
        if self._current_part.file is None:
            try:
                self._current_part.data.decode()
            except UnicodeDecodeError as error:  # starlette would fall back to Latin-1
                raise MultiPartException("a field is not in UTF-8") from error
        super().on_part_end()

    def on_end(self) -> None:
        self._complete = True

    async def parse(self) -> FormData:
        self.stream = self._require_end(self.stream)
        return await super().parse()

    async def _require_end(
        self, stream: AsyncGenerator[bytes, None]
    ) -> AsyncGenerator[bytes, None]:
        # Raised within parse(), so that starlette closes the files that it has opened.
        async for chunk in stream:
            yield chunk
        if not self._complete:
            raise MultiPartException("it ends before the closing boundary")


async def _split_dense_chunks(
    stream: AsyncGenerator[bytes, None], delimiter: bytes
) -> AsyncGenerator[bytes, None]:
    """Pass a body on; split chunks with many boundaries and yield to the event loop in between.

    Args:
        stream: the body.
        delimiter: the line end, the two hyphens and the boundary.
    """
    total, tail = 0, b""
    async for chunk in stream:
        # A delimiter may end in one chunk and its space follow in the next.
        _count_delimiters(delimiter, tail + chunk[: len(delimiter)])
        tail = (tail + chunk[-len(delimiter) :])[-len(delimiter) :]
        # Misses a delimiter across two chunks, which is harmless: there is one per chunk at most.
        in_chunk = _count_delimiters(delimiter, chunk)
        total += in_chunk
        if total > MAX_BOUNDARIES:
            raise MultiPartException(f"it contains its boundary more than {MAX_BOUNDARIES} times")
        if in_chunk <= FEW_BOUNDARIES:
            yield chunk
            continue
        for begin in range(0, len(chunk), CHUNK_BYTES):
            yield chunk[begin : begin + CHUNK_BYTES]
            await asyncio.sleep(0)


def _count_delimiters(delimiter: bytes, text: bytes) -> int:
    """Count the delimiters in a text, up to one above the limit.

    A space after a delimiter is refused: clients do not send it, and the parser skips spaces one
    by one in Python.
    """
    count, found = 0, text.find(delimiter)
    while found >= 0 and count <= MAX_BOUNDARIES:
        after = found + len(delimiter)
        if text[after : after + 1] in (b" ", b"\t"):
            raise MultiPartException("a space follows a boundary")
        count += 1
        found = text.find(delimiter, after)
    return count


def _boundary(content_type: str) -> bytes:
    """Return the boundary from a content type; empty if it has none.

    Only UTF-8 is allowed: some of Python's codecs raise, others produce lone surrogates. The
    standard for forms (RFC 7578) has no charset parameter.
    """
    if content_type.count(";") > MAX_SEMICOLONS:
        raise MalformedBodyError(f"the content type has more than {MAX_SEMICOLONS} semicolons")
    _, parameters = parse_options_header(content_type)
    charset = parameters.get(b"charset", b"utf-8")
    if charset.lower() not in (b"utf-8", b"utf8"):
        raise MalformedBodyError(
            f"the multipart body's charset is {charset[:40].decode('latin-1')!r}; send UTF-8"
        )
    return parameters.get(b"boundary", b"")


def _files_and_fields(
    form: FormData, contents: dict[UploadFile, list[bytes]]
) -> tuple[list[File], dict[str, list[str]]]:
    files: list[File] = []
    fields: dict[str, list[str]] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile) and name == IMAGES_FIELD:
            _check_name(value.filename or "")
            files.append(File(value.filename, contents.get(value, [])))
        elif isinstance(value, UploadFile):
            raise OptionError(name, f"a file part must be named {IMAGES_FIELD!r}")
        elif name == IMAGES_FIELD:
            raise OptionError(name, "must be file parts, each with a file name")
        else:
            fields.setdefault(name, []).append(value)
    return files, fields


def _check_name(name: str) -> None:
    if len(name) > MAX_NAME_CHARS:
        raise OptionError(
            IMAGES_FIELD,
            f"a file name has {len(name)} characters; at most {MAX_NAME_CHARS} are allowed",
        )
