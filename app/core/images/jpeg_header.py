"""Headers of JPEG files: the frame, its coding, and where its scans end."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from app.errors import ImageError

MAX_JPEG_MARKERS = 20_000

# The second byte of a start-of-frame marker names the coding.
_SEQUENTIAL = {0xC0, 0xC1, 0xC9}
_PROGRESSIVE = {0xC2, 0xCA}
_HUFFMAN = {0xC0, 0xC1, 0xC2}
_LOSSLESS = 0xC3
_SUPPORTED = _SEQUENTIAL | _PROGRESSIVE | {_LOSSLESS}
_UNSUPPORTED = {
    0xCB: "an arithmetic-coded lossless JPEG",
    0xF7: "JPEG-LS",
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF, 0xDE), "a hierarchical JPEG"),
}
_SOS, _EOI = 0xDA, 0xD9

# In scan data, FF 00 stands for FF, and FF D0 to FF D7 are restart markers. FF
# can precede a marker.
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")  # the end, or of a segment with a length


@dataclass(frozen=True, slots=True)
class Frame:
    """The frame header of a JPEG.

    Args:
        coding: second byte of the start-of-frame marker.
        bits: per sample.
        height: in pixels; 0 if a DNL segment after the first scan gives it.
        components: the components' ids, as scan headers name them.
        sampling: horizontal and vertical sampling factor of each component.
        scanned: how many of the components are in the first scan.
    """

    coding: int
    bits: int
    height: int
    components: tuple[int, ...]
    sampling: tuple[tuple[int, int], ...]
    scanned: int

    @property
    def lossless(self) -> bool:
        """Whether there are no frequencies, so that it cannot be decoded at a fraction."""
        return self.coding == _LOSSLESS

    @property
    def huffman(self) -> bool:
        """Whether the scans are Huffman-coded, so that decoders notice when one is truncated."""
        return self.coding in _HUFFMAN

    @property
    def one_pass(self) -> bool:
        """Whether a decoder keeps a few rows in memory, and decodes each of them once."""
        return self.coding in _SEQUENTIAL & _HUFFMAN and self.scanned == len(self.components)


def read_frame(data: bytes) -> Frame:
    """Read the frame header of a JPEG, and check that its coding is supported.

    Args:
        data: the whole file.

    Raises:
        ImageError: the coding is not supported.
        EOFError: there is no frame or no scan.
    """
    frame = None
    for marker, start, end in _segments(data):
        if marker in _UNSUPPORTED:
            raise _unsupported(_UNSUPPORTED[marker])
        if marker in _SUPPORTED and frame is None:
            coding, frame = marker, data[start:end]
        if marker == _SOS and frame:
            each = [frame[at : at + 3] for at in range(6, len(frame) - 2, 3)][: frame[5]]
            found = Frame(
                coding=coding,
                bits=frame[0],
                height=int.from_bytes(frame[1:3]),
                components=tuple(name for name, _, _ in each),
                sampling=tuple((factors >> 4, factors & 15) for _, factors, _ in each),
                scanned=data[start],
            )
            _check(found)
            return found
    raise EOFError("no frame or no scan")


def _check(frame: Frame) -> None:
    if frame.bits != 8:
        raise _unsupported(f"a JPEG of {frame.bits} bits per sample")
    if len(frame.components) not in (1, 3, 4):
        raise _unsupported(f"a JPEG of {len(frame.components)} components")
    if frame.height == 0:
        raise _unsupported("a JPEG whose height follows its pixels (DNL)")
    for factors in zip(*frame.sampling, strict=True):
        if any(factor and max(factors) % factor for factor in factors):
            raise _unsupported("a JPEG with fractional subsampling")


def _unsupported(what: str) -> ImageError:
    return ImageError(
        "unsupported_format", f"{what} is not supported: send a JPEG of 8 bits per sample, or PNG"
    )


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
        missing -= _completed(data[start:end], progressive=frame.coding in _PROGRESSIVE)
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
