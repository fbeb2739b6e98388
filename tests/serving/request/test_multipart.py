"""Parsing of multipart forms."""

import asyncio
import gc
import tracemalloc

import pytest

from app.errors import MalformedBodyError, OptionError
from app.serving.request.multipart import MAX_BOUNDARIES, MAX_PARTS, Form, read_form

CONTENT_TYPE = "multipart/form-data; boundary=xyz"
FIELD = b'--xyz\r\ncontent-disposition: form-data; name="n"\r\n\r\n1\r\n'
FILE = b'--xyz\r\ncontent-disposition: form-data; name="images"; filename="%d"\r\n\r\n%b\r\n'
END = b"--xyz--\r\n"


async def read(body: bytes) -> tuple[Form, int]:
    """Read a form and count how often another task ran meanwhile."""
    turns = 0

    async def something_else() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    other = asyncio.create_task(something_else())
    try:
        return await read_form(CONTENT_TYPE, bytearray(body)), turns
    finally:
        other.cancel()


def test_dense_form_yields_to_event_loop() -> None:
    form, turns = asyncio.run(read(FIELD * MAX_PARTS + END))
    assert not form.files
    assert form.fields == [("n", "1")] * MAX_PARTS
    assert turns >= MAX_PARTS - 1


def test_files_are_complete() -> None:
    photos = [bytes(range(256)) * 5, b"", b"\r\n--xy\r\n--xy z", b"\r\n--xyz\r", b"\r\n", b"--xyzz"]
    body = b"".join(FILE % (n, photo) for n, photo in enumerate(photos)) + END
    form, _ = asyncio.run(read(body))
    assert [(file.name, file.read(len(body))) for file in form.files] == [
        (str(n), photo) for n, photo in enumerate(photos)
    ]


def test_photos_are_not_copied() -> None:
    body = bytearray(FILE % (0, bytes(8 * 2**20)) + END)
    gc.collect()
    tracemalloc.start()
    try:
        form = asyncio.run(read_form(CONTENT_TYPE, body))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(form.files[0].data) == 8 * 2**20
    assert peak < 2**20


@pytest.mark.parametrize("cut", range(1, len(FIELD + FIELD + END) - 2))
def test_form_cut_anywhere_is_refused(cut: int) -> None:
    with pytest.raises(MalformedBodyError):
        asyncio.run(read((FIELD + FIELD + END)[:cut]))


def test_part_without_headers_or_data_is_read_or_refused() -> None:
    form, _ = asyncio.run(read(FIELD.replace(b"\r\n\r\n1\r\n", b"\r\n\r\n") + END))
    assert form.fields == [("n", "")]
    for nothing in (b"--xyz\r\n", b"--xyz\r\n\r\n", FIELD.replace(b"\r\n\r\n1\r\n", b"\r\n")):
        with pytest.raises(MalformedBodyError):
            asyncio.run(read(nothing + END))


def test_false_delimiters_are_bounded() -> None:
    few, many = (b"\r\n--xyz_" * number for number in (MAX_BOUNDARIES - 2, MAX_BOUNDARIES - 1))
    form, _ = asyncio.run(read(FILE % (0, few) + END))
    assert len(form.files[0].data) == len(few)
    with pytest.raises(MalformedBodyError, match="its boundary more than"):
        asyncio.run(read(FILE % (0, many) + END))


def test_field_not_in_utf8_is_refused() -> None:
    with pytest.raises(MalformedBodyError, match="not in UTF-8"):
        asyncio.run(read(FIELD.replace(b"1", b"caf\xe9") + END))


def test_false_base64_of_field_is_refused_with_name() -> None:
    field = FIELD.replace(b"\r\n\r\n1", b"\r\ncontent-transfer-encoding: base64\r\n\r\n1~")
    with pytest.raises(OptionError, match="n: data is not base64: the character '~'"):
        asyncio.run(read(field + END))
