"""Parsing of multipart forms."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from starlette.datastructures import Headers

from app.errors import MalformedBodyError
from app.serving.request.multipart import CHUNK_BYTES, MAX_PARTS, File, read_form

HEADERS = Headers({"content-type": "multipart/form-data; boundary=xyz"})
FIELD = b'--xyz\r\ncontent-disposition: form-data; name="n"\r\n\r\n1\r\n'
FILE = b'--xyz\r\ncontent-disposition: form-data; name="images"; filename="%d"\r\n\r\n%b\r\n'
END = b"--xyz--\r\n"


async def read(*chunks: bytes) -> tuple[list[File], dict[str, list[str]], int]:
    """Read a form and count how often another task ran meanwhile."""
    turns = 0

    async def something_else() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async def stream() -> AsyncGenerator[bytes, None]:
        for chunk in chunks:
            yield chunk

    other = asyncio.create_task(something_else())
    try:
        return *await read_form(HEADERS, stream()), turns
    finally:
        other.cancel()


def test_dense_form_yields_to_event_loop() -> None:
    body = FIELD * MAX_PARTS + END
    files, fields, turns = asyncio.run(read(body))
    assert not files
    assert fields == {"n": ["1"] * MAX_PARTS}
    assert turns >= len(body) // CHUNK_BYTES


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_files_are_complete_for_any_chunk_size(size: int) -> None:
    photos = [bytes(range(256)) * 5, b"", b"\r\n--xy\r\n--xy z"]
    body = b"".join(FILE % (n, photo) for n, photo in enumerate(photos)) + END
    chunks = [body[begin : begin + size] for begin in range(0, len(body), size)]
    files, _, _ = asyncio.run(read(*chunks))
    assert [(file.name, b"".join(file.chunks)) for file in files] == [
        (str(n), photo) for n, photo in enumerate(photos)
    ]


@pytest.mark.parametrize("cut", range(len(b"\r\n--xyz") + 2))
def test_space_after_boundary_is_refused_across_chunks(cut: int) -> None:
    body, padded = (FILE % (0, b"photo"))[:-2], b"\r\n--xyz\t\r\n"
    with pytest.raises(MalformedBodyError, match="a space follows a boundary"):
        asyncio.run(read(body + padded[:cut], padded[cut:] + END))


def test_field_not_in_utf8_is_refused() -> None:
    with pytest.raises(MalformedBodyError, match="not in UTF-8"):
        asyncio.run(read(FIELD.replace(b"1", b"caf\xe9") + END))
