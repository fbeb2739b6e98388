"""Counts the structural elements of image files: chunks, segments, blocks, tags, strips, tiles.

Pillow parses each element in Python, which takes microseconds, and keeps many of them. A file of
20 MiB can have millions of empty elements, which would take half a minute and a gigabyte.
"""

import struct
from collections.abc import Iterator

from app.core.images.boxes import read_boxes
from app.core.images.heif import read_item_lengths
from app.core.images.tiff import read_entries

# 20 MiB in chunks of 1 kB. Cameras write a few dozen elements, encoders some hundreds.
MAX_ELEMENTS = 20_000
# Pillow copies all preceding EXIF data when it joins a segment to it.
JPEG_SEGMENT_WEIGHT = 20

_STRIP_AND_TILE_OFFSETS = {273, 324}  # TIFF tags with one value for each strip or tile


def has_too_many_structural_elements(data: bytes, image_format: str) -> bool:
    """Return whether the weights of a file's elements exceed `MAX_ELEMENTS`.

    Counting stops at the first invalid element.

    Args:
        data: the whole file.
        image_format: Pillow's name of the format. Formats that Pillow does not parse in Python
            have no elements.
    """
    total = 0
    try:
        for weight in _element_weights(data, image_format):
            total += weight
            if total > MAX_ELEMENTS:
                return True
    except (IndexError, OverflowError, struct.error):  # the file is truncated
        pass
    return False


def _element_weights(data: bytes, image_format: str) -> Iterator[int]:
    match image_format:
        case "PNG":
            return _png_chunks(data)
        case "JPEG":
            return _jpeg_segments(data)
        case "GIF":
            return _gif_blocks(data)
        case "TIFF":
            return _tiff_tags_and_strips(data)
        case "HEIF":
            return _heif_extents(data)
        case "JXL":
            return (1 for _ in read_boxes(data))
    return iter(())


def _png_chunks(data: bytes) -> Iterator[int]:
    """Yield the weight of each chunk of a PNG."""
    at = 8
    while at < len(data):
        yield 1
        at += 12 + struct.unpack_from(">I", data, at)[0]


def _jpeg_segments(data: bytes) -> Iterator[int]:
    """Yield the weight of each segment of a JPEG up to the first scan, where libjpeg takes over."""
    at = 2
    while data[at : at + 2] != b"\xff\xda":
        marker = data[at + 1]
        if data[at] != 0xFF or marker == 0xFF:  # a byte that decoders skip
            yield 1
            at += 1
        elif marker <= 0x01 or 0xD0 <= marker <= 0xD9:  # markers without a length
            yield 1
            at += 2
        else:
            yield JPEG_SEGMENT_WEIGHT
            at += 2 + struct.unpack_from(">H", data, at + 2)[0]


def _gif_blocks(data: bytes) -> Iterator[int]:
    """Yield 1 for each block of a GIF before its first frame."""
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    while (kind := data[at]) not in b",;":
        yield 1
        at += 1
        if kind == 0x21:  # an extension: a label, then blocks up to an empty one
            at += 1
            while size := data[at]:
                yield 1
                at += 1 + size
            at += 1


def _tiff_tags_and_strips(data: bytes) -> Iterator[int]:
    """Yield the numbers of tags, strips and tiles of a TIFF's first image."""
    for entry in read_entries(data):
        yield 1 + (entry.values if entry.tag in _STRIP_AND_TILE_OFFSETS else 0)


def _heif_extents(data: bytes) -> Iterator[int]:
    """Yield the weight of each extent of a HEIF's items, which may have the file's bytes twice."""
    for length in read_item_lengths(data):
        share = (length or len(data)) / len(data)
        yield 1 + int(MAX_ELEMENTS / 2 * share if share <= 1 else 0)  # libheif refuses longer ones
