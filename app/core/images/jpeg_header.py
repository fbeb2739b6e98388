"""Headers of JPEG files: the frame, its coding, and where its scans end."""

import re
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from app.errors import ImageError

MAX_JPEG_MARKERS = 20_000

# The second byte of a start-of-frame marker names the coding.
_BASELINE = {0xC0, 0xC1}
_HUFFMAN = {0xC0, 0xC1, 0xC2}
_PROGRESSIVE = {0xC2, 0xCA}
_LOSSLESS = 0xC3
_SUPPORTED = {*_HUFFMAN, *_PROGRESSIVE, _LOSSLESS, 0xC9}
_UNSUPPORTED = {
    0xCB: "an arithmetic-coded lossless JPEG",
    0xF7: "JPEG-LS",
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF, 0xDE), "a hierarchical JPEG"),
}
_USUAL_SAMPLING = {b"\x11", b"\x11\x11\x11", b"\x21\x11\x11", b"\x22\x11\x11"}
_SOS, _EOI = 0xDA, 0xD9
# Minimum bytes of comments (FE) and application segments for `strip_segments` to keep them.
_METADATA = {0xFE: 2**16, **dict.fromkeys(range(0xE0, 0xF0), 2**16)} | {
    0xE0: 14,  # JFIF
    0xE1: 6,  # Exif
    0xE2: 14,  # ICC profile
    0xEE: 12,  # Adobe
}

# In scan data, FF 00 stands for FF, and FF D0 to FF D7 are restart markers. Any
# number of FF can precede a marker.
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")  # the end, or of a segment with a length


class Frame(NamedTuple):
    """The frame header of a JPEG, and the header of its first scan.

    Args:
        coding: second byte of the start-of-frame marker.
        header: body of the start-of-frame segment: bits per sample, height, width, number of
            components, and of each component the id, the sampling factors and a table.
        first_scan: body of the first start-of-scan segment: number of components and more.
    """

    coding: int
    header: bytes
    first_scan: bytes

    @property
    def components(self) -> bytes:
        """The components' ids, by which scan headers name them."""
        return self.header[6::3]

    @property
    def sampling(self) -> bytes:
        """Of each component, the horizontal sampling factor in 4 bits and the vertical in 4."""
        return self.header[7::3]

    @property
    def huffman(self) -> bool:
        """Whether the scans are Huffman-coded, so that decoders notice when one is truncated."""
        return self.coding in _HUFFMAN

    @property
    def lossless(self) -> bool:
        """Whether there are no frequencies, so that it cannot be decoded at a fraction."""
        return self.coding == _LOSSLESS

    @property
    def progressive(self) -> bool:
        """Whether each scan has some of the frequencies or bits of the whole picture."""
        return self.coding in _PROGRESSIVE

    @property
    def one_pass(self) -> bool:
        """Whether a decoder keeps a few rows in memory, and decodes each of them once."""
        return self.coding in _BASELINE and self.first_scan[0] == self.header[5]


def read_frame(data: bytes) -> Frame:
    """Read the frame header of a JPEG, and check that its coding is supported.

    Args:
        data: the whole file.

    Raises:
        ImageError: the coding is not supported.
        EOFError: there is no frame or no scan.
    """
    header = None
    for marker, start, end in _segments(data):
        if marker in _UNSUPPORTED:
            raise _unsupported(_UNSUPPORTED[marker])
        if marker in _SUPPORTED and header is None:
            coding, header = marker, data[start:end]
        elif marker == _SOS and header:
            frame = Frame(coding, header, data[start:end])
            _check(frame)
            return frame
    raise EOFError("no frame or no scan")


def _check(frame: Frame) -> None:
    bits, number, sampling = frame.header[0], frame.header[5], frame.sampling
    if bits != 8:
        raise _unsupported(f"a JPEG of {bits} bits per sample")
    if number not in (1, 3, 4):
        raise _unsupported(f"a JPEG of {number} components")
    if frame.header[1:3] == b"\0\0":
        raise _unsupported("a JPEG whose height follows its pixels (DNL)")
    if sampling in _USUAL_SAMPLING:
        return
    for factors in ([each >> 4 for each in sampling], [each & 15 for each in sampling]):
        if any(factor and max(factors) % factor for factor in factors):
            raise _unsupported("a JPEG with fractional subsampling")


def _unsupported(what: str) -> ImageError:
    return ImageError(
        "unsupported_format", f"{what} is not supported: send a JPEG of 8 bits per sample, or PNG"
    )


def strip_segments(data: bytes) -> bytes:
    """Remove metadata before the first scan of a JPEG that do not affect pixels.

    Pillow rejects some files for metadata that are too short; libjpeg ignores those.

    Args:
        data: the whole file.

    Returns:
        The file without comments and application segments, except whole JFIF, Exif, ICC profile
        and Adobe segments.
    """
    kept, kept_from = [], 0
    for marker, start, end in _segments(data):
        if marker == _SOS:
            break
        if marker in _METADATA and end - start < _METADATA[marker]:
            kept.append(data[kept_from : start - 4])
            kept_from = end
    return b"".join([*kept, data[kept_from:]])


def find_missing_end(data: bytes, frame: Frame) -> int | None:
    """Find where the scans of a JPEG without an end marker (EOI) end.

    Some phones write panoramas without this marker, alone or followed by other data.

    Args:
        data: the whole file.
        frame: its frame header.

    Returns:
        The offset of the first marker or of the end of the file after the scan that completes the
        picture; None if an end marker is there.

    Raises:
        EOFError: scans are missing.
    """
    missing = {(component, k) for component in frame.components for k in range(64)}
    for marker, start, end in islice(_segments(data), MAX_JPEG_MARKERS):
        if marker == _EOI:
            return None
        if marker != _SOS or end > len(data):
            continue
        missing -= _completed(data[start:end], progressive=frame.progressive)
        if not missing:
            found = _END_OF_SCAN.search(data, end)
            if found is None:
                return len(data)
            return None if found[0][1] == _EOI else found.start()
    raise EOFError("missing scans")


def _completed(scan: bytes, *, progressive: bool) -> set[tuple[int, int]]:
    """Return component and index of the coefficients that have all bits after a scan.

    Args:
        scan: the body of the scan header.
        progressive: whether the scan has some coefficients or some bits of them only.
    """
    number = scan[0]
    components = scan[1 : 1 + 2 * number : 2]
    first, last, bits = (scan[1 + 2 * number + n] for n in range(3)) if progressive else (0, 63, 0)
    if bits & 15:  # the lowest bits follow in another scan
        return set()
    return {(component, k) for component in components for k in range(first, min(last, 63) + 1)}


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the marker of each segment, and start and end of its body; the last is the EOI."""
    at = 2
    while found := _MARKER.search(data, at):
        marker, start = found[0][1], found.end() + 2
        at = found.end() + int.from_bytes(data[found.end() : start])
        yield marker, start, at
        if marker == _EOI:
            return
        if marker == _SOS:
            scanned = _END_OF_SCAN.search(data, at)
            at = scanned.start() if scanned else len(data)
