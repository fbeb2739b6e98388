"""BMP layouts decode to the right pixels or are refused by name."""

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from app.errors import ImageError
from tests.support.photos import sample
from tests.support.pixels import decoded, pixels

Samples = npt.NDArray[Any]
Masks = tuple[int, int, int, int]

RGB: Samples = np.asarray(sample("coffee").resize((51, 37)))
HEIGHT, WIDTH = RGB.shape[:2]
GREY: Samples = np.asarray(Image.fromarray(RGB).convert("L"))
ALPHA: Samples = np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1))
BIT_FIELDS = 3


def bmp(
    rows: Sequence[bytes],
    bits: int,
    *,
    header: int = 40,
    compression: int = 0,
    masks: Masks = (0, 0, 0, 0),
    palette: Samples | None = None,
    top_down: bool = False,
) -> bytes:
    """Build a BMP from rows, the top one first."""
    padded = [row + bytes(-len(row) % 4) for row in rows]
    body = b"".join(padded if top_down else padded[::-1])
    if header == 12:
        head = struct.pack("<IHHHH", 12, WIDTH, HEIGHT, 1, bits)
    else:
        height = -HEIGHT if top_down else HEIGHT
        colours = 0 if palette is None else len(palette)
        sizes = (header, WIDTH, height, 1, bits, compression, len(body), 0, 0, colours, 0)
        head = struct.pack("<IiiHHIIiiII", *sizes)
        head = (head + struct.pack("<IIII", *masks))[:header].ljust(header, b"\0")
        if header == 40 and compression == BIT_FIELDS:
            head += struct.pack("<III", *masks[:3])
    entries: Any = [] if palette is None else palette[:, ::-1].astype(np.uint8)
    table = b"".join(bytes(entry) + bytes(header != 12) for entry in entries)
    start = 14 + len(head) + len(table)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + head + table + body


def indexed(indices: Samples, bits: int) -> list[bytes]:
    planes = (indices[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    return [np.packbits(row.ravel().astype(np.uint8)).tobytes() for row in planes]


def masked(bits: int, masks: Masks, alpha: Samples) -> tuple[list[bytes], Samples]:
    """Return rows with channels at masks, and the RGB and alpha that they show."""
    words = np.zeros((HEIGHT, WIDTH), dtype=np.uint64)
    shown = []
    for mask, channel in zip(masks, [*np.moveaxis(RGB, -1, 0), alpha], strict=True):
        most = mask >> max((mask & -mask).bit_length() - 1, 0)
        values = np.round(channel / 255 * most).astype(np.uint64)
        words |= values * np.uint64(mask & -mask)
        shown.append(np.round(values / most * 255) if most else np.full_like(channel, 255))
    kind = "<u2" if bits == 16 else "<u4"
    return [row.tobytes() for row in words.astype(kind)], np.stack(shown, -1)


def assert_pixels(data: bytes, expected: Samples, tolerance: int = 1) -> None:
    found = pixels(decoded(data).pixels)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance


def refusal(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decoded(data)
    assert caught.value.code == "unsupported_format"
    return caught.value.message


HEADERS = [12, 40, 52, 56, 64, 108, 124]
BGR_ROWS = [row.tobytes() for row in RGB[..., ::-1]]


@pytest.mark.parametrize("top_down", [False, True])
@pytest.mark.parametrize("header", HEADERS)
def test_rgb_with_each_header_decodes(header: int, top_down: bool) -> None:
    assert_pixels(bmp(BGR_ROWS, 24, header=header, top_down=top_down and header > 12), RGB)


@pytest.mark.parametrize("alpha", [0, 128])
def test_fourth_byte_without_masks_is_no_alpha(alpha: int) -> None:
    rows = [row.tobytes() for row in np.dstack([RGB[..., ::-1], np.full_like(GREY, alpha)])]
    assert_pixels(bmp(rows, 32), RGB)


OPAQUE: dict[str, tuple[int, Masks]] = {
    "565": (16, (0xF800, 0x7E0, 0x1F, 0)),
    "555": (16, (0x7C00, 0x3E0, 0x1F, 0)),
    "xRGB": (32, (0xFF0000, 0xFF00, 0xFF, 0)),
    "RGBx": (32, (0xFF000000, 0xFF0000, 0xFF00, 0)),
}
WITH_ALPHA: dict[str, Masks] = {
    "ARGB": (0xFF0000, 0xFF00, 0xFF, 0xFF000000),
    "ABGR": (0xFF, 0xFF00, 0xFF0000, 0xFF000000),
    "RGBA": (0xFF000000, 0xFF0000, 0xFF00, 0xFF),
}
UNUSUAL: dict[str, tuple[int, Masks]] = {
    "4444": (16, (0xF00, 0xF0, 0xF, 0xF000)),
    "1555": (16, (0x7C00, 0x3E0, 0x1F, 0x8000)),
    "BGR": (16, (0x1F, 0x7E0, 0xF800, 0)),
    "30 bits": (32, (0x3FF00000, 0xFFC00, 0x3FF, 0)),
    "30 bits, alpha": (32, (0x3FF, 0xFFC00, 0x3FF00000, 0xC0000000)),
}


@pytest.mark.parametrize("header", [40, 52, 56, 108, 124])
@pytest.mark.parametrize("name", OPAQUE)
def test_bit_fields_decode(name: str, header: int) -> None:
    bits, masks = OPAQUE[name]
    rows, shown = masked(bits, masks, ALPHA)
    data = bmp(rows, bits, header=header, compression=BIT_FIELDS, masks=masks)
    assert_pixels(data, shown[..., :3])


@pytest.mark.parametrize("header", [56, 108, 124])
@pytest.mark.parametrize("masks", WITH_ALPHA.values(), ids=WITH_ALPHA)
def test_alpha_mask_is_composited_over_white(masks: Masks, header: int) -> None:
    rows, _ = masked(32, masks, ALPHA)
    weight = ALPHA[..., None] / 255
    data = bmp(rows, 32, header=header, compression=BIT_FIELDS, masks=masks)
    assert_pixels(data, RGB * weight + 255 * (1 - weight))


@pytest.mark.parametrize("top_down", [False, True])
@pytest.mark.parametrize("header", [40, 52, 56, 124])
@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_masks_decode(name: str, header: int, top_down: bool) -> None:
    bits, masks = UNUSUAL[name]
    rows, shown = masked(bits, masks, ALPHA)
    data = bmp(rows, bits, header=header, compression=BIT_FIELDS, masks=masks, top_down=top_down)
    weight = shown[..., 3:] / 255 if header >= 56 else 1
    assert_pixels(data, shown[..., :3] * weight + 255 * (1 - weight))


@pytest.mark.parametrize("name", UNUSUAL)
def test_truncated_pixels_at_unusual_masks_are_corrupt(name: str) -> None:
    bits, masks = UNUSUAL[name]
    rows, _ = masked(bits, masks, ALPHA)
    data = bmp(rows, bits, header=124, compression=BIT_FIELDS, masks=masks)
    with pytest.raises(ImageError) as caught:
        decoded(data[:-20])
    assert caught.value.code == "corrupt"


@pytest.mark.parametrize("header", [56, 108, 124])
@pytest.mark.parametrize("masks", WITH_ALPHA.values(), ids=WITH_ALPHA)
def test_alpha_of_zero_everywhere_is_opaque(masks: Masks, header: int) -> None:
    rows, _ = masked(32, masks, np.zeros_like(GREY))
    data = bmp(rows, 32, header=header, compression=BIT_FIELDS, masks=masks)
    assert_pixels(data, RGB)


def test_one_visible_pixel_keeps_the_others_transparent() -> None:
    alpha = np.zeros_like(GREY)
    alpha[3, 4] = 255
    masks = WITH_ALPHA["ARGB"]
    rows, _ = masked(32, masks, alpha)
    expected = np.full_like(RGB, 255)
    expected[3, 4] = RGB[3, 4]
    assert_pixels(bmp(rows, 32, header=124, compression=BIT_FIELDS, masks=masks), expected)


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("bits", [1, 4, 8])
def test_palette_of_each_depth_decodes(bits: int, header: int) -> None:
    ramp = np.arange(2**bits) * 255 // (2**bits - 1)
    palette = np.stack([ramp, 255 - ramp, np.full_like(ramp, 7)], -1)
    indices = GREY >> 8 - bits
    data = bmp(indexed(indices, bits), bits, header=header, palette=palette)
    assert_pixels(data, palette[indices])


@pytest.mark.parametrize("colours", [[0, 255], [255, 0]])
@pytest.mark.parametrize("bits", [1, 4, 8])
def test_palette_of_black_and_white_decodes(bits: int, colours: list[int]) -> None:
    palette = np.stack([colours] * 3, -1)
    indices = (GREY > 128).astype(np.uint8)
    assert_pixels(bmp(indexed(indices, bits), bits, palette=palette), palette[indices])


@pytest.mark.parametrize(("bits", "colours"), [(4, 16), (8, 100), (8, 256)])
def test_palette_equal_to_its_indices_decodes(bits: int, colours: int) -> None:
    palette = np.stack([np.arange(colours)] * 3, -1)
    indices = (GREY.astype(int) * colours // 256).astype(np.uint8)
    assert_pixels(bmp(indexed(indices, bits), bits, palette=palette), palette[indices])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (bmp(BGR_ROWS, 24, compression=1), "run-length"),
        (bmp(BGR_ROWS, 24, compression=4), "a JPEG"),
        (bmp(BGR_ROWS, 24, compression=5), "a PNG"),
        (bmp(BGR_ROWS, 24, compression=11), "compression 11"),
        (bmp(BGR_ROWS, 24, header=64, compression=3), "compression 3"),
        (bmp(BGR_ROWS, 24, header=64, compression=4), "run-length"),
        (bmp(BGR_ROWS, 64), "64 bits per pixel"),
        (bmp(indexed(GREY >> 6, 2), 2, palette=np.zeros((4, 3), int)), "2 bits per pixel"),
        (bmp(BGR_ROWS, 24, header=48), "a header of 48 bytes"),
        *[
            (bmp(BGR_ROWS, bits, header=124, compression=BIT_FIELDS, masks=masks), "masks 0x")
            for bits, masks in [
                (16, (0xF0F, 0xF0, 0xF, 0xF000)),
                (16, (0xFF0000, 0xFF00, 0xFF, 0)),
                (24, (0xFF, 0xFF00, 0xFF0000, 0)),
            ]
        ],
    ],
)
def test_unsupported_layout_is_refused_by_name(data: bytes, words: str) -> None:
    message = refusal(data)
    assert message.startswith("BMP images with ")
    assert words in message
    assert "save it as 24-bit RGB" in message


@pytest.mark.parametrize("kept", [18, 30, 40, 60])
def test_truncated_header_is_corrupt(kept: int) -> None:
    masks = WITH_ALPHA["ARGB"]
    data = bmp(BGR_ROWS, 32, header=124, compression=BIT_FIELDS, masks=masks)
    with pytest.raises(ImageError) as caught:
        decoded(data[:kept])
    assert caught.value.code == "corrupt"
