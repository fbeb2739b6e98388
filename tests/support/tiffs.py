"""TIFF files made from tags, for layouts that no library writes."""

import struct
from collections.abc import Mapping, Sequence
from typing import Literal

STRIP_OFFSETS, STRIP_BYTES = 273, 279
BYTE, ASCII, SHORT, LONG = 1, 2, 3, 4
_CODES = {BYTE: "B", ASCII: "B", SHORT: "H", LONG: "I"}

Values = tuple[int, Sequence[int]]  # type and values


def tiff(
    tags: Mapping[int, Values], strip: bytes, *, order: Literal["<", ">"] = "<", pages: int = 1
) -> bytes:
    """Build a TIFF whose pages have the same tags and the same strip.

    Args:
        tags: type and values by number; those of the strip are added.
        strip: the only strip of each page.
        order: byte order, as in `struct`.
        pages: number of pages.
    """
    entries = {**tags, STRIP_OFFSETS: (LONG, [8]), STRIP_BYTES: (LONG, [len(strip)])}
    even = len(strip) % 2
    file = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(
        order + "I", 8 + len(strip) + even
    )
    file += strip + bytes(even)
    for page in range(pages):
        after = len(file) + 2 + 12 * len(entries) + 4
        table, values = b"", b""
        for tag, (kind, numbers) in sorted(entries.items()):
            raw = struct.pack(f"{order}{len(numbers)}{_CODES[kind]}", *numbers)
            if len(raw) > 4:
                place, values = after + len(values), values + raw + bytes(len(raw) % 2)
                raw = struct.pack(order + "I", place)
            table += struct.pack(order + "HHI", tag, kind, len(numbers)) + raw.ljust(4, b"\0")
        following = after + len(values) if page < pages - 1 else 0
        file += struct.pack(order + "H", len(entries)) + table + struct.pack(order + "I", following)
        file += values
    return file


def picture(
    width: int, height: int, *, photometric: int, bits: Sequence[int], compression: int = 1
) -> dict[int, Values]:
    """Return the tags of a page in one strip."""
    return {
        256: (SHORT, [width]),
        257: (SHORT, [height]),
        258: (SHORT, bits),
        259: (SHORT, [compression]),
        262: (SHORT, [photometric]),
        277: (SHORT, [len(bits)]),
        278: (SHORT, [height]),
    }
