"""Decoding of base64 texts as clients write them."""

import base64
import random

import pytest

from app.errors import ImageError
from app.serving.request.base64_text import MIN_CHARS_WITH_PLUS, decode_base64

DATA = random.Random(1).randbytes(10_000)
TEXT = base64.b64encode(DATA).decode()
MIME = base64.encodebytes(DATA).decode()
MOST = len(DATA)


def in_lines(text: str, chars: int, separator: str) -> str:
    return separator.join(text[begin : begin + chars] for begin in range(0, len(text), chars))


WRITTEN = {
    "plain": TEXT,
    "lines of MIME": MIME,
    "lines with CR LF": MIME.replace("\n", "\r\n"),
    "lines of PEM": in_lines(TEXT, 64, "\n"),
    "indented lines": in_lines(TEXT, 60, "\n\t  "),
    "lines of an unquoted shell variable": in_lines(TEXT, 76, " "),
    "line end": TEXT + "\n",
    "no padding": TEXT.rstrip("="),
    "URL alphabet": base64.urlsafe_b64encode(DATA).decode(),
    "URL alphabet without padding": base64.urlsafe_b64encode(DATA).decode().rstrip("="),
    "data URL": f"data:image/jpeg;base64,{TEXT}",
    "data URL with parameters": f" DATA:image/jpeg;name=a.jpg;BASE64,{MIME}",
    "data URL without a type": f"data:;base64,{TEXT}",
    "data URL, percent-encoded": "data:image/png;base64,"
    + TEXT.replace("+", "%2B").replace("/", "%2f").replace("=", "%3D"),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_text_is_decoded(name: str) -> None:
    assert decode_base64(WRITTEN[name], MOST) == DATA
    with pytest.raises(ImageError, match="at most 9997 bytes"):
        decode_base64(WRITTEN[name], MOST - 3)


@pytest.mark.parametrize("length", range(1, 8))
def test_short_text_is_decoded_without_padding(length: int) -> None:
    text = base64.b64encode(DATA[:length]).decode().rstrip("=")
    assert decode_base64(text, MOST) == DATA[:length]


REFUSED = {
    "another character": ("AAAA~AAA", "character '~' at position 4"),
    "another character in lines": ("AAAA\nAA~A", "character '~' at position 7"),
    "another character after a prefix": ("data:;base64,AA?A", "character '?' at position 15"),
    "a letter of another alphabet": ("AAAäAAAA", "character 'ä' at position 3"),
    "two texts": ("AAA=AAA=", "character '=' at position 3"),
    "cut": (TEXT.rstrip("=")[:-1] + "\n", "send the whole text"),
    "one character": ("A", "1 digits"),
    "wrong padding": ("AAA==", "2 padding"),
    "data URL without base64": ("data:image/png,%89PNG", "without ';base64'"),
    "data URL with other escapes": ("data:;base64,AAA%41", "character '%' at position 16"),
    "plus signs lost": (TEXT.replace("+", " "), "%2B"),
    "data URL without a comma": ("data:image/png;base64", "character ':' at position 4"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_invalid_text_is_refused_with_position(name: str) -> None:
    text, words = REFUSED[name]
    with pytest.raises(ImageError) as caught:
        decode_base64(text, MOST)
    assert caught.value.code == "invalid_base64"
    assert words in caught.value.message


def test_short_text_with_blanks_needs_no_plus() -> None:
    assert len("AAAA" * 10) < MIN_CHARS_WITH_PLUS
    assert decode_base64("AAAA " * 10, MOST) == bytes(30)
