"""Parses multipart forms (RFC 7578) in memory.

Browsers, HTTP clients and MIME libraries write forms differently. The parser accepts a preamble,
blanks after a boundary, folded headers, lines that end in LF, parts without a file name, and file
names in any of the common encodings. The cost is linear in the size of the body; the number of
parts and the size of their headers are bounded.
"""

import asyncio
import quopri
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import decode_params, unquote
from typing import Any

from pydantic_core import from_json

from app.errors import ImageError, MalformedBodyError, OptionError, UnsupportedMediaError
from app.serving.request.base64_text import decode_base64

IMAGES_FIELD = "images"
IMAGES = re.compile(r"images(?:\[[0-9]*\])?")  # `images[]` and `images[0]` are PHP's arrays
MAX_PARTS = 2000
MAX_FIELD_BYTES = 64 * 1024
MAX_NAME_CHARS = 256
MAX_BOUNDARIES = 4 * MAX_PARTS  # delimiters, and texts that begin like one
MAX_HEADER_BYTES = 16 * 1024  # of one part
MAX_HEADERS = 32
MAX_PARAMETERS = 64  # of a header

PADDING = rb"[ \t]{0,256}"  # after a boundary
LINE_END = re.compile(PADDING + rb"(\r?\n)")
LINE_BREAK = re.compile(rb"[\r\n]")
PARAMETER = re.compile(
    r';\s*([^\s=;"]+)\s*=\s*("[^"\\]*(?:\\.[^"\\]*)*"(?=\s*(?:;|$))|[^;]*)', re.DOTALL
)
ESCAPED = re.compile(r'\\(["\\])')
WINDOWS_PATH = re.compile(r'"?(?:[A-Za-z]:\\|\\\\[^\\]+\\)')
# https://html.spec.whatwg.org/multipage/form-control-infrastructure.html#multipart-form-data
BROWSER_ESCAPES = (("%22", '"'), ("%0D", "\r"), ("%0A", "\n"))
CONTROL_CHARACTER = re.compile(rb"[\x00-\x08\x0e-\x1f]")
TEXT_HEAD_BYTES = 200

# codecs.lookup would import a module for any name, and some of Python's codecs are not charsets.
CHARSETS = {
    label: codec
    for codec, labels in {
        "utf-8": "utf-8 utf8 us-ascii ascii",
        "latin-1": "iso-8859-1 iso8859-1 latin-1 latin1",
        **{f"iso8859-{n}": f"iso-8859-{n} iso8859-{n}" for n in (2, 3, 4, 5, 6, 7, 8, 9, 13, 15)},
        **{f"cp{n}": f"windows-{n} cp{n}" for n in range(1250, 1259)},
        "koi8-r": "koi8-r",
        "koi8-u": "koi8-u",
        "mac-roman": "macintosh",
        "gb18030": "gb18030 gbk gb2312",
        "big5hkscs": "big5 big5-hkscs",
        "euc-jp": "euc-jp",
        "shift_jis": "shift_jis shift-jis sjis",
        "cp932": "windows-31j",
        "cp949": "euc-kr ks_c_5601-1987",
    }.items()
    for label in labels.split()
}


@dataclass(frozen=True, slots=True)
class File:
    """One image of a form.

    Attributes:
        name: its file name, or None.
        data: its bytes as they were sent, a view of the body.
        transfer_encoding: `base64`, `quoted-printable` or empty.
    """

    name: str | None
    data: memoryview
    transfer_encoding: str = ""

    def read(self, max_bytes: int) -> bytes:
        """Return the decoded bytes.

        Args:
            max_bytes: the largest number of decoded bytes, for base64.

        Raises:
            ImageError: the part is said to be base64, but is not.
        """
        return _decoded(self.data, self.transfer_encoding, max_bytes)


@dataclass(frozen=True, slots=True)
class Form:
    """The content of a form.

    Attributes:
        files: the images, in the order of their parts.
        fields: name and value of the other parts, in their order. A value is a string; that of a
            part with the type `application/json` is any JSON value.
    """

    files: list[File]
    fields: list[tuple[str, Any]]


@dataclass(frozen=True, slots=True)
class _Part:
    """One part: its headers' values, and its data."""

    name: str
    file_name: str | None
    media_type: str
    charset: str
    transfer_encoding: str
    data: memoryview


async def read_form(content_type: str, body: bytearray) -> Form:
    """Parse a multipart body. Between two parts, other tasks run.

    Args:
        content_type: the request's content type, with the boundary.
        body: the complete body.

    Raises:
        MalformedBodyError: the body does not parse, is truncated, a field is not in its charset, or
            a limit is exceeded.
        UnsupportedMediaError: a part is compressed.
        OptionError: a file is not named `images`, a part named `images` is a text, a part is
            itself a multipart body, or a file name is too long.
    """
    parameters = _parameters(content_type)
    boundary = parameters.get("boundary", b"")
    if not boundary:
        raise MalformedBodyError(
            "the content type has no boundary; let the HTTP client write this header"
        )
    form_codec = CHARSETS.get(_label(parameters), "")
    images: list[_Part] = []
    fields: list[_Part] = []
    for part in _parts(body, boundary, form_codec):
        kind = images if IMAGES.fullmatch(part.name) else fields
        if not _is_empty_file(part):
            kind.append(part)
        if len(kind) > MAX_PARTS:
            raise _malformed(f"it has more than {MAX_PARTS} images or fields")
        await asyncio.sleep(0)
    # RFC 7578, 4.6: this field names the charset of the others.
    default = next((bytes(part.data) for part in fields if part.name == "_charset_"), b"")
    codec = CHARSETS.get(default[:40].decode("latin-1").strip().lower(), form_codec)
    return Form(
        [_file(part) for part in images],
        [(part.name, _value(part, codec)) for part in fields if part.name != "_charset_"],
    )


def _parts(body: bytearray, boundary: bytes, form_codec: str) -> Iterator[_Part]:
    """Yield the parts of a body; their data are views of it."""
    marker = b"--" + boundary
    budget = iter(range(MAX_BOUNDARIES))
    for found in _occurrences(body, marker, 0, budget):  # whatever precedes the first is a preamble
        after = found + len(marker)
        at_line_start = found == 0 or body[found - 1] == ord("\n")
        if at_line_start and body.startswith(b"--", after):
            return
        if at_line_start and (line_end := LINE_END.match(body, after)):
            break
    else:
        raise _malformed("the boundary of the content type does not begin any line of the body")
    end_of_line = line_end[1]
    delimiter = end_of_line + marker
    rest_of_line = re.compile(rb"(--)|" + PADDING + end_of_line)
    view, start, is_last = memoryview(body), line_end.end(), False
    while not is_last:
        for end in _occurrences(body, delimiter, start - len(end_of_line), budget):
            if rest := rest_of_line.match(body, end + len(delimiter)):
                break
        else:
            raise _malformed("it ends before the closing boundary")
        yield _part(view, body, start, end, end_of_line, form_codec)
        start, is_last = rest.end(), rest[1] is not None


def _occurrences(body: bytearray, text: bytes, start: int, budget: Iterator[int]) -> Iterator[int]:
    """Yield where a text occurs; each occurrence takes an item of the budget."""
    found = body.find(text, start)
    while found >= 0:
        if next(budget, None) is None:
            raise _malformed(f"it contains its boundary more than {MAX_BOUNDARIES} times")
        yield found
        found = body.find(text, found + len(text))


def _part(
    view: memoryview, body: bytearray, start: int, end: int, end_of_line: bytes, form_codec: str
) -> _Part:
    # The line end before the headers or after them may be that of a delimiter.
    first, last = start - len(end_of_line), min(end + len(end_of_line), start + MAX_HEADER_BYTES)
    stop = body.find(end_of_line * 2, first, last)
    if stop < 0:
        raise _malformed(
            f"no blank line follows the headers of a part within {MAX_HEADER_BYTES} bytes"
        )
    headers = _headers(bytes(body[start:stop]), end_of_line)
    disposition = _parameters(headers.get("content-disposition", ""))
    content_type = headers.get("content-type", "")
    if "name" not in disposition:
        raise _malformed('a part has no name in its Content-Disposition; send name="images"')
    name = _text(disposition["name"], form_codec)
    coding = headers.get("content-encoding", "").lower()
    if coding not in ("", "identity"):
        raise UnsupportedMediaError(
            f"the part {name[:60]!r} has the content encoding {coding[:40]!r}; "
            "send the bytes of the file as they are"
        )
    return _Part(
        name,
        _text(disposition["filename"], form_codec) if "filename" in disposition else None,
        content_type.partition(";")[0].strip().lower(),
        _label(_parameters(content_type)),
        _transfer_encoding(name, headers.get("content-transfer-encoding", "")),
        view[min(stop + 2 * len(end_of_line), end) : end],
    )


def _headers(block: bytes, end_of_line: bytes) -> dict[str, str]:
    """Return the headers of a part by name in lower case, decoded as Latin-1."""
    if not block:
        return {}
    for blank in (b" ", b"\t"):  # a header that is continued on the next line
        block = block.replace(end_of_line + blank, b" ")
    lines = block.split(end_of_line)
    if len(lines) > MAX_HEADERS:
        raise _malformed(f"a part has {len(lines)} headers; at most {MAX_HEADERS} are allowed")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon or LINE_BREAK.search(line):
            raise _malformed(f"a part has an invalid header: {line[:60].decode('latin-1')!r}")
        headers.setdefault(name.strip().lower(), value.strip())
    return headers


def _parameters(header: str) -> dict[str, bytes]:
    """Return the parameters of a header by name in lower case.

    A parameter in the extended notation (`filename*=UTF-8''...`, RFC 8187 and RFC 2231) takes
    precedence over the plain one; its value is converted to UTF-8.
    """
    plain: dict[str, bytes] = {}
    extended: list[tuple[str, str]] = []
    for number, match in enumerate(PARAMETER.finditer(header)):
        if number == MAX_PARAMETERS:
            raise _malformed(f"a header has more than {MAX_PARAMETERS} parameters")
        name, value = match.groups()
        if "*" in name:
            extended.append((name.lower(), value.strip()))
        else:
            plain.setdefault(name.lower(), _unquoted(name.lower(), value.strip()))
    return plain | _extended(extended) if extended else plain


def _unquoted(name: str, value: str) -> bytes:
    is_path = name == "filename" and WINDOWS_PATH.match(value)
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = ESCAPED.sub(r"\1", value[1:-1])
    for escape, character in BROWSER_ESCAPES if "%" in value else ():
        value = value.replace(escape, character)
    if is_path:  # only the name is of use as an id
        value = value.rpartition("\\")[2] or value
    return value.encode("latin-1")


def _extended(parameters: list[tuple[str, str]]) -> dict[str, bytes]:
    try:
        decoded = decode_params([("", ""), *parameters])[1:]
    except ValueError:  # the number of a continuation has thousands of digits
        return {}
    values: dict[str, bytes] = {}
    for name, value in decoded:
        charset, _, text = value if isinstance(value, tuple) else (None, None, value)
        codec = CHARSETS.get((charset or "").lower(), "utf-8")
        if data := unquote(text).encode("latin-1"):
            values[name] = data.decode(codec, "replace").encode()
    return values


def _label(parameters: dict[str, bytes]) -> str:
    return parameters.get("charset", b"").decode("latin-1").lower()


def _text(value: bytes, form_codec: str) -> str:
    """Decode a name: UTF-8, or the charset of the form, or Latin-1."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        codec = form_codec if form_codec not in ("", "utf-8") else "latin-1"
        return value.decode(codec, "replace")


def _transfer_encoding(name: str, value: str) -> str:
    encoding = value.lower()
    if encoding in ("", "7bit", "8bit", "binary"):
        return ""
    if encoding not in ("base64", "quoted-printable"):
        raise OptionError(
            name, f"unknown Content-Transfer-Encoding {value[:40]!r}; send binary or base64"
        )
    return encoding


def _is_empty_file(part: _Part) -> bool:
    """Whether a part is a browser's file input without a file."""
    return not (part.data or part.file_name) and (
        part.media_type == "application/octet-stream"
        or (part.media_type == "" and bool(IMAGES.fullmatch(part.name)))
    )


def _file(part: _Part) -> File:
    _refuse_nested(part)
    name = part.file_name if part.file_name and not part.file_name.isspace() else None
    is_field = name is None and part.media_type in ("", "text/plain") and not part.transfer_encoding
    if is_field and not CONTROL_CHARACTER.search(part.data[:TEXT_HEAD_BYTES]):
        raise OptionError(
            IMAGES_FIELD,
            "must be file parts with the bytes of an image, not a text; with curl, write "
            f"-F {IMAGES_FIELD}=@photo.jpg; base64 may be sent as JSON",
        )
    if len(name or "") > MAX_NAME_CHARS:
        raise OptionError(
            IMAGES_FIELD,
            f"a file name has {len(name or '')} characters; at most {MAX_NAME_CHARS} are allowed",
        )
    return File(name, part.data, part.transfer_encoding)


def _value(part: _Part, default_codec: str) -> Any:
    """Decode a field.

    Args:
        part: the field's part.
        default_codec: decodes fields that are not UTF-8 and declare no charset; may be empty.
    """
    _refuse_nested(part)
    is_text = part.media_type.startswith("text/") or part.media_type == "application/json"
    if part.media_type.startswith("image/") or (part.file_name and not is_text):
        raise OptionError(
            part.name,
            f"a file part must be named {IMAGES_FIELD!r}; an option has no file name",
        )
    if len(part.data) > MAX_FIELD_BYTES:
        raise _malformed(f"the field {part.name[:60]!r} has more than {MAX_FIELD_BYTES} bytes")
    codec = CHARSETS.get(part.charset, "")
    if part.charset and not codec:
        raise OptionError(part.name, f"unknown charset {part.charset[:40]!r}; send UTF-8")
    try:
        data = _decoded(part.data, part.transfer_encoding, MAX_FIELD_BYTES)
    except ImageError as error:
        raise OptionError(part.name, error.message) from error
    text = _field_text(part.name, data, codec or "utf-8", "" if codec else default_codec)
    if part.media_type != "application/json" or not text:
        return text
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise OptionError(part.name, f"is not JSON: {error}") from error


def _field_text(name: str, data: bytes, codec: str, otherwise: str) -> str:
    try:
        return data.decode(codec)
    except UnicodeDecodeError as error:
        if otherwise not in ("", codec):
            return _field_text(name, data, otherwise, "")
        charset = "UTF-8" if codec == "utf-8" else codec
        raise _malformed(f"the field {name[:60]!r} is not in {charset}") from error


def _decoded(data: memoryview, transfer_encoding: str, max_bytes: int) -> bytes:
    if transfer_encoding == "base64":
        return decode_base64(str(data, "latin-1"), max_bytes)
    if transfer_encoding == "quoted-printable":
        return quopri.decodestring(bytes(data))
    return bytes(data)


def _refuse_nested(part: _Part) -> None:
    if part.media_type.startswith("multipart/"):
        raise OptionError(
            part.name,
            f"a part is {part.media_type[:60]}; send each file as a part of its own, named "
            f"{IMAGES_FIELD!r}",
        )


def _malformed(reason: str) -> MalformedBodyError:
    return MalformedBodyError(f"the multipart body cannot be read: {reason}")
