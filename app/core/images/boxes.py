"""The boxes of ISO base media files (ISO/IEC 14496-12), as in HEIF and JPEG XL."""

from collections.abc import Iterator
from typing import NamedTuple


class Box(NamedTuple):
    """A box of a file.

    Args:
        kind: four bytes.
        start: where its content starts.
        end: where it ends, possibly after the end of a truncated file.
    """

    kind: bytes
    start: int
    end: int


def read_boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Box]:
    """Yield the boxes of a file or within a box, lazily. An invalid length ends them.

    Args:
        data: the whole file.
        start: where the first box starts.
        end: where the last box ends; by default the end of the file.
    """
    end = len(data) if end is None else min(end, len(data))
    while start + 8 <= end:
        size, content = int.from_bytes(data[start : start + 4]), start + 8
        if size == 1:
            size, content = int.from_bytes(data[start + 8 : start + 16]), start + 16
        after = start + size if size else end
        if after < content:
            return
        yield Box(data[start + 4 : start + 8], content, after)
        start = after
