"""A multipart body, taken apart in memory."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from app.errors import MalformedBodyError, OptionError

IMAGES_FIELD = "images"
MAX_PARTS = 2000
MAX_FIELD_BYTES = 64 * 1024
MAX_NAME_CHARS = 256


@dataclass(frozen=True, slots=True)
class File:
    """One file part.

    Attributes:
        name: its file name, where it has one.
        data: its bytes.
    """

    name: str | None
    data: bytes


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
        MalformedBodyError: the body does not parse, ends too early or is not in UTF-8.
        OptionError: a file part has another name, a part named `images` is no file, or a file's
            name is too long.
    """
    _refuse_other_charsets(headers)
    parser = _Parser(
        headers,
        stream,
        max_files=MAX_PARTS,
        max_fields=MAX_PARTS,
        max_part_size=MAX_FIELD_BYTES,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise MalformedBodyError(f"the multipart body cannot be read: {error.message}") from error
    try:
        return await _files_and_fields(form)
    finally:
        await form.close()


class _Parser(MultiPartParser):
    """Keeps files in memory, and refuses a body that ends before its closing boundary."""

    spool_max_size = 2**62
    _complete = False

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


def _refuse_other_charsets(headers: Headers) -> None:
    """No codec but one: some of Python's raise, others give half a character that nobody can send.

    The standard for forms (RFC 7578) has no such parameter.
    """
    _, parameters = parse_options_header(headers["content-type"])
    charset = parameters.get(b"charset", b"utf-8")
    if charset.lower() not in (b"utf-8", b"utf8"):
        raise MalformedBodyError(
            f"the multipart body's charset is {charset[:40].decode('latin-1')!r}; send UTF-8"
        )


async def _files_and_fields(form: FormData) -> tuple[list[File], dict[str, list[str]]]:
    files: list[File] = []
    fields: dict[str, list[str]] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile) and name == IMAGES_FIELD:
            _check_name(value.filename or "")
            files.append(File(value.filename, await value.read()))
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
