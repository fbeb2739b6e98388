"""A multipart body, taken apart in memory.

The parser runs on the event loop, which is the quickest way for the photos that clients send. What
would make it slow is bounded: places where a part may end, blanks after a boundary, parameters of a
header. Where many parts come at once the loop has turns in between.
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
MAX_BOUNDARIES = 2 * MAX_PARTS + 1  # as many as the files and fields that are allowed have
MAX_SEMICOLONS = 64  # of a header: two or three parameters, and those within a file's name
FEW_BOUNDARIES = 16
PIECE_BYTES = 4096  # of parts as short as they can be: some milliseconds' work


@dataclass(frozen=True, slots=True)
class File:
    """One file part.

    Attributes:
        name: its file name, where it has one.
        pieces: its bytes as they came; to join them is left to whoever has the time.
    """

    name: str | None
    pieces: Sequence[bytes]


async def read_form(
    headers: Headers, stream: AsyncGenerator[bytes, None]
) -> tuple[list[File], dict[str, list[str]]]:
    """Read a multipart body.

    Args:
        headers: the request's, for the boundary.
        stream: the body; whoever gives it bounds it, since all of it is held in memory.

    Returns:
        The file parts named `images`, and the values of each field.

    Raises:
        MalformedBodyError: the body does not parse, ends too early, is not in UTF-8, or is made
            to be slow to parse.
        OptionError: a file part has another name, a part named `images` is no file, or a file's
            name is too long.
    """
    boundary = _boundary(headers["content-type"])
    parser = _Parser(
        headers,
        _in_pieces(stream, b"\r\n--" + boundary),
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
        contents: the pieces of each file, in the place of starlette's temporary files.
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
            except UnicodeDecodeError as error:  # starlette would take it for Latin-1
                raise MultiPartException("a field is not in UTF-8") from error
        super().on_part_end()

    def on_end(self) -> None:
        self._complete = True

    async def parse(self) -> FormData:
        self.stream = self._to_the_end(self.stream)
        return await super().parse()

    async def _to_the_end(self, stream: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        # An error raised in here, and not after parse(), makes it close the files it has begun.
        async for chunk in stream:
            yield chunk
        if not self._complete:
            raise MultiPartException("it ends before its closing boundary")


async def _in_pieces(
    stream: AsyncGenerator[bytes, None], line: bytes
) -> AsyncGenerator[bytes, None]:
    """A body as it comes, but in small pieces where it has many boundaries.

    Args:
        stream: the body.
        line: what a boundary begins with, from the line end before it.
    """
    seen, before = 0, b""
    async for chunk in stream:
        _count(line, before + chunk[: len(line)])  # a blank may follow in the next chunk
        before = (before + chunk[-len(line) :])[-len(line) :]
        here = _count(line, chunk)  # but for one that two chunks share: each chunk costs more
        seen += here
        if seen > MAX_BOUNDARIES:
            raise MultiPartException(f"its boundary is more than {MAX_BOUNDARIES} times in it")
        if here <= FEW_BOUNDARIES:
            yield chunk
            continue
        for begin in range(0, len(chunk), PIECE_BYTES):
            yield chunk[begin : begin + PIECE_BYTES]
            await asyncio.sleep(0)


def _count(line: bytes, text: bytes) -> int:
    """How often a boundary is in a text, or a number above the bound.

    Blanks after one are refused: nobody sends them, and the parser goes over them one by one.
    """
    count, found = 0, text.find(line)
    while found >= 0 and count <= MAX_BOUNDARIES:
        after = found + len(line)
        if text[after : after + 1] in (b" ", b"\t"):
            raise MultiPartException("a blank follows a boundary")
        count += 1
        found = text.find(line, after)
    return count


def _boundary(content_type: str) -> bytes:
    """What is between the parts, by a form's content type; empty where it does not say.

    No codec but one: some of Python's raise, others give half a character that nobody can send. The
    standard for forms (RFC 7578) has no such parameter.
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
            f"a file's name has {len(name)} characters; at most {MAX_NAME_CHARS} are allowed",
        )
