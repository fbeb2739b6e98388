"""Decodes base64 as clients write it: RFC 4648 with both alphabets, in lines, or as a data: URL."""

import base64
import re
from urllib.parse import unquote

from app.errors import ImageError

LINE_BREAKS = str.maketrans("", "", " \t\r\n\f\v")
# RFC 4648, 5: the alphabet for URLs and file names.
STANDARD_ALPHABET = str.maketrans("-_", "+/")
FOREIGN = re.compile(r"[^A-Za-z0-9+/\-_=\s]", re.ASCII)
DATA_URL = re.compile(r"\s*data:([^,]{0,200}),", re.IGNORECASE)
# A text of this length without `+` and `-` has lost its plus signs: the chance that it never had
# any is below 1e-20.
MIN_CHARS_WITH_PLUS = 4096


def decode_base64(text: str, max_bytes: int) -> bytes:
    """Decode the base64 text of an image.

    White space is ignored, padding may be missing, `-` and `_` stand for `+` and `/`, and the
    prefix of a data: URL is removed.

    Args:
        text: the text.
        max_bytes: the largest number of decoded bytes.

    Raises:
        ImageError: the text is not base64, or it encodes more bytes.
    """
    if _decoded_bytes(len(text)) <= max_bytes + 2:
        try:
            return base64.b64decode(text, validate=True)
        except ValueError:
            pass
    digits = _digits(text)
    if _decoded_bytes(len(digits)) > max_bytes:
        raise ImageError("too_many_bytes", f"an image may have at most {max_bytes} bytes")
    return base64.b64decode(digits + "=" * (-len(digits) % 4))


def _decoded_bytes(chars: int) -> int:
    return chars * 3 // 4


def _digits(text: str) -> str:
    """Return the digits of a base64 text in the standard alphabet, without padding."""
    begin = 0
    if prefix := DATA_URL.match(text):
        begin = prefix.end()
        if not prefix[1].lower().rstrip().endswith(";base64"):
            raise _invalid(f"the data: URL begins with {prefix[0][:60]!r}, without ';base64'")
        if "%" in text:
            text, begin = unquote(text[begin:], "latin-1"), 0
    if foreign := FOREIGN.search(text, begin):
        raise _invalid(f"the character {foreign[0]!r} at position {foreign.start()}")
    padded = text[begin:].translate(LINE_BREAKS)
    digits = padded.rstrip("=")
    if " " in text and len(digits) >= MIN_CHARS_WITH_PLUS and not {"+", "-"} & set(digits):
        raise _invalid("it has blanks and no '+'; percent-encode '+' as %2B in a form or a URL")
    if "=" in digits:
        raise _invalid(f"the character '=' at position {text.index('=', begin)} is not at the end")
    padding = len(padded) - len(digits)
    if len(digits) % 4 == 1 or padding > 2 or (padding and len(padded) % 4):
        raise _invalid(
            f"{len(digits)} digits and {padding} padding characters; send the whole text"
        )
    return digits.translate(STANDARD_ALPHABET)


def _invalid(reason: str) -> ImageError:
    return ImageError("invalid_base64", f"data is not base64: {reason}")
