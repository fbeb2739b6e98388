"""JPEG files that Pillow cannot write, from blocks of one value each."""

import struct
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

Blocks = npt.NDArray[np.int64]

_BITS = 8


def segment(marker: int, body: bytes) -> bytes:
    """Build a segment: marker, length, body."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def jpeg_of_blocks(
    components: Sequence[tuple[int, int, Blocks]],
    *,
    coding: int = 0xC0,
    bits: int = _BITS,
    height: int | None = None,
    restart_interval: int = 0,
    segments: bytes = b"",
) -> bytes:
    """Build a sequential JPEG whose blocks of 8 x 8 samples have one value each.

    Args:
        components: of each component, the horizontal and vertical sampling factor and the values
            of its blocks, 0 to 255, in rows; the number of blocks is a multiple of the factors.
        coding: second byte of the start-of-frame marker.
        bits: bits per sample in the frame header.
        height: in the frame header, instead of the true height, in pixels.
        restart_interval: MCUs between restart markers; 0 for none.
        segments: further segments before the frame header.
    """
    horizontal = max(each[0] for each in components)
    vertical = max(each[1] for each in components)
    across = components[0][2].shape[1] // components[0][0]
    down = components[0][2].shape[0] // components[0][1]
    size = (8 * vertical * down if height is None else height), 8 * horizontal * across
    frame = struct.pack(">BHHB", bits, *size, len(components))
    scan = bytes([len(components)])
    for number, (h, v, _) in enumerate(components):
        frame += bytes([number + 1, h << 4 | v, 0])
        scan += bytes([number + 1, 0])
    parts = [
        b"\xff\xd8",
        segments,
        segment(0xDB, bytes([0]) + bytes([8] * 64)),
        segment(coding, frame),
        _dc_table(),
        segment(0xC4, bytes([0x10, 1]) + bytes(15) + bytes([0])),  # the end of a block: bit 0
        segment(0xDD, struct.pack(">H", restart_interval)) if restart_interval else b"",
        segment(0xDA, scan + bytes([0, 63, 0])),
        _entropy_coded(components, across, down, restart_interval),
        b"\xff\xd9",
    ]
    return b"".join(parts)


def lossless_jpeg(samples: npt.NDArray[np.uint8]) -> bytes:
    """Build a lossless JPEG (SOF3) of 8 bits per sample.

    Args:
        samples: uint8 (H, W), grey.
    """
    values = samples.astype(np.int64)
    predicted = np.full_like(values, 128)
    predicted[:, 1:] = values[:, :-1]
    predicted[1:, 0] = values[:-1, 0]
    codes = "".join(_code(int(difference)) for difference in (values - predicted).flat)
    return (
        b"\xff\xd8"
        + segment(0xC3, struct.pack(">BHHB", _BITS, *samples.shape, 1) + bytes([1, 0x11, 0]))
        + _dc_table()
        + segment(0xDA, bytes([1, 1, 0, 1, 0, 0]))
        + _stuffed(codes)
        + b"\xff\xd9"
    )


def _dc_table() -> bytes:
    """Return a Huffman table in which the code of each of 12 categories is its number in 4 bits."""
    return segment(0xC4, bytes([0, 0, 0, 0, 12]) + bytes(12) + bytes(range(12)))


def _entropy_coded(
    components: Sequence[tuple[int, int, Blocks]], across: int, down: int, restart_interval: int
) -> bytes:
    pieces: list[bytes] = []
    codes: list[str] = []
    last = [128] * len(components)
    for unit in range(across * down):
        if restart_interval and unit and unit % restart_interval == 0:
            pieces += [_stuffed("".join(codes)), bytes([0xFF, 0xD0 + len(pieces) // 2 % 8])]
            codes, last = [], [128] * len(components)
        for number, (h, v, blocks) in enumerate(components):
            row, column = unit // across * v, unit % across * h
            for value in blocks[row : row + v, column : column + h].flat:
                codes.append(_code(int(value) - last[number]) + "0")
                last[number] = int(value)
    return b"".join([*pieces, _stuffed("".join(codes))])


def _code(difference: int) -> str:
    """Return the code of a difference: its category, then its bits."""
    category = abs(difference).bit_length()
    if not category:
        return "0000"
    low = difference if difference > 0 else difference + (1 << category) - 1
    return f"{category:04b}{low:0{category}b}"


def _stuffed(codes: str) -> bytes:
    """Return bits as bytes, filled with ones, with a zero after each FF."""
    padded = codes + "1" * (-len(codes) % 8)
    data = int(padded or "0", 2).to_bytes(len(padded) // 8)
    return data.replace(b"\xff", b"\xff\x00")


def without_end(data: bytes) -> bytes:
    """Remove the end marker of a JPEG."""
    assert data.endswith(b"\xff\xd9")
    return data[:-2]


def blocks(values: Iterable[Iterable[int]]) -> Blocks:
    """Return the values of blocks as an array."""
    return np.array([list(row) for row in values])
