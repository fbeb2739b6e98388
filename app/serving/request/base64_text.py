"""Decodes base64 as clients write it: RFC 4648 with both alphabets, in lines, or as a data: URL."""

import base64
import re
import string

from app.errors import ImageError

WHITE_SPACE = b" \t\r\n\f\v"
DIGITS = string.ascii_letters.encode() + string.digits.encode() + b"+/"
STANDARD_ALPHABET = bytes.maketrans(b"-_", b"+/")  # from that for URLs, RFC 4648, 5
# Digits and line ends that encoders of data: URLs escape, in either case.
PERCENT_ESCAPES = {b"%2B": b"+", b"%2F": b"/", b"%3D": b"=", b"%0D": b"", b"%0A": b"", b"%20": b""}
# Line breaks, indentation and escapes add less than this to a text.
MAX_OVERHEAD = 1.25
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
    too_many = ImageError("too_many_bytes", f"an image may have at most {max_bytes} bytes")
    if _decoded_bytes(len(text)) > MAX_OVERHEAD * max_bytes + 1000:
        raise too_many
    digits = _digits(text)
    if _decoded_bytes(len(digits)) > max_bytes:
        raise too_many
    return base64.b64decode(digits + b"=" * (-len(digits) % 4))


def _decoded_bytes(chars: int) -> int:
    return chars * 3 // 4


def _digits(text: str) -> bytes:
    """Return the digits of a base64 text in the standard alphabet, without padding."""
    begin = 0
    if prefix := DATA_URL.match(text):
        begin = prefix.end()
        if not prefix[1].lower().rstrip().endswith(";base64"):
            raise _invalid(f"the data: URL begins with {prefix[0][:60]!r}, without ';base64'")
    try:
        data = text[begin:].encode("ascii")
    except UnicodeEncodeError as error:
        raise _foreign(text[begin + error.start], begin + error.start) from error
    for escape, character in PERCENT_ESCAPES.items() if prefix and b"%" in data else ():
        data = data.replace(escape, character).replace(escape.lower(), character)
    padded = data.translate(STANDARD_ALPHABET, WHITE_SPACE)
    digits = padded.rstrip(b"=")
    if foreign := digits.translate(None, DIGITS)[:1]:
        raise _foreign(foreign.decode(), begin + data.index(foreign))
    if b" " in data and len(digits) >= MIN_CHARS_WITH_PLUS and b"+" not in digits:
        raise _invalid("it has blanks and no '+'; percent-encode '+' as %2B in a form or a URL")
    padding = len(padded) - len(digits)
    if len(digits) % 4 == 1 or padding > 2 or (padding and len(padded) % 4):
        raise _invalid(
            f"{len(digits)} digits and {padding} padding characters; send the whole text"
        )
    return digits


def _foreign(character: str, position: int) -> ImageError:
    return _invalid(f"the character {character!r} at position {position}")


def _invalid(reason: str) -> ImageError:
    return ImageError("invalid_base64", f"data is not base64: {reason}")
