"""How many pieces an image file has: chunks, segments, blocks, tags, strips.

Pillow takes each of them in Python, in some microseconds, and keeps many of them. A file of 20 MiB
has room for millions of empty ones: half a minute, and a gigabyte.
"""

import struct
from collections.abc import Iterator

# 20 MiB in chunks of 1 kB. Cameras write a few dozen, encoders some hundreds.
MAX_PIECES = 20_000
# Some count as many, since they cost as much: Pillow copies all EXIF before a segment to join them,
# and unpacks each colour profile to a mebibyte.
SEGMENT_OF_JPEG, PROFILE_OF_PNG = 20, 1000

_STRIPS_AND_TILES = {273, 324}  # the tags that say where each of them begins


def has_too_many_pieces(data: bytes, image_format: str) -> bool:
    """Whether a file has more than `MAX_PIECES`; the count ends where it is not valid.

    Args:
        data: the whole file.
        image_format: Pillow's name of it; of some formats Pillow takes no pieces.
    """
    pieces = 0
    try:
        for more in _pieces(data, image_format):
            pieces += more
            if pieces > MAX_PIECES:
                return True
    except (IndexError, OverflowError, struct.error):  # it ends before or in the middle of one
        pass
    return False


def _pieces(data: bytes, image_format: str) -> Iterator[int]:
    match image_format:
        case "PNG":
            return _chunks(data)
        case "JPEG":
            return _segments(data)
        case "GIF":
            return _blocks(data)
        case "TIFF":
            return _tags_and_strips(data)
    return iter(())


def _chunks(data: bytes) -> Iterator[int]:
    """What each chunk of a PNG counts."""
    at = 8
    while at < len(data):
        yield PROFILE_OF_PNG if data[at + 4 : at + 8] == b"iCCP" else 1
        at += 12 + struct.unpack_from(">I", data, at)[0]


def _segments(data: bytes) -> Iterator[int]:
    """What each segment of a JPEG counts, up to the first scan, from which on libjpeg reads."""
    at = 2
    while data[at : at + 2] != b"\xff\xda":
        marker = data[at + 1]
        if data[at] != 0xFF or marker == 0xFF:  # a byte that is skipped
            yield 1
            at += 1
        elif marker <= 0x01 or 0xD0 <= marker <= 0xD9:  # these have no length
            yield 1
            at += 2
        else:
            yield SEGMENT_OF_JPEG
            at += 2 + struct.unpack_from(">H", data, at + 2)[0]


def _blocks(data: bytes) -> Iterator[int]:
    """One for each block of a GIF, up to its first frame."""
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    while (kind := data[at]) not in b",;":
        yield 1
        at += 1
        if kind == 0x21:  # an extension: its label, then blocks up to an empty one
            at += 1
            while size := data[at]:
                yield 1
                at += 1 + size
            at += 1


def _tags_and_strips(data: bytes) -> Iterator[int]:
    """How many of them a TIFF's first picture has."""
    order = "<" if data.startswith(b"II") else ">"
    big = b"+" in data[2:4]
    first, count, entry = ("Q", "Q", "HHQQ") if big else ("I", "H", "HHII")
    (at,) = struct.unpack_from(order + first, data, 8 if big else 4)
    (tags,) = struct.unpack_from(order + count, data, at)
    yield tags
    at += struct.calcsize(order + count)
    for n in range(tags):
        tag, _, values, _ = struct.unpack_from(
            order + entry, data, at + n * struct.calcsize(order + entry)
        )
        yield values if tag in _STRIPS_AND_TILES else 0
