"""Small image files whose decoding costs many pixels, much memory or much time.

The name of each file is its format and its anomaly.
"""

import io
import struct
import zlib
from collections.abc import Callable
from functools import cache

from PIL import Image

from tests.support.icc import huge_table, many_stages
from tests.support.photos import encoded, png, png_chunk

HUGE_PX = 30_000
MANY = 1_000_000
ZEROS = zlib.compress(bytes(64 * 2**20), 9)
SMALL = Image.new("RGB", (64, 64), "teal")
Tag = tuple[int, int, int, int]  # number, type, count, value or its offset


def png_of(*chunks: tuple[bytes, bytes]) -> bytes:
    """Build a valid small PNG with chunks before its pixels."""
    whole = png(64, 64, 8, 2, bytes(64 * (64 * 3 + 1)))
    head = whole.index(b"IDAT") - 4
    return whole[:head] + b"".join(png_chunk(*each) for each in chunks) + whole[head:]


def jpeg_of(segments: bytes) -> bytes:
    """Build a valid small JPEG with segments before its first one."""
    whole = encoded(SMALL, "JPEG")
    return whole[:2] + segments + whole[2:]


def huge_jpeg() -> bytes:
    """Build a JPEG whose header declares a huge size."""
    whole = encoded(SMALL, "JPEG")
    size = whole.index(b"\xff\xc0") + 5
    return whole[:size] + struct.pack(">HH", HUGE_PX, HUGE_PX) + whole[size + 4 :]


def repeating_exif() -> bytes:
    """Build EXIF data of 5,000 tags that all refer to the same 50 kB."""
    tags = [(1000 + n, 7, 50_000, 8) for n in range(5000)]
    return b"Exif\x00\x00" + tiff_of(tags)


def gif_of(blocks: bytes, *, screen_px: int = 64, frame_px: int = 64) -> bytes:
    """Build a GIF with blocks before its only frame."""
    whole = encoded(SMALL.quantize(4), "GIF")
    palette = 13 + (3 << (whole[10] & 7) + 1)
    frame = whole.index(b",", palette)
    return (
        whole[:6]
        + struct.pack("<HH", screen_px, screen_px)
        + whole[10:palette]
        + blocks
        + whole[frame : frame + 5]
        + struct.pack("<HH", frame_px, frame_px)
        + whole[frame + 9 :]
    )


def tiff_of(tags: list[Tag], rest: bytes = b"", *, big: bool = False) -> bytes:
    """Build a TIFF of tags and the data after them."""
    if big:
        head, entry = b"II+\x00\x08\x00\x00\x00" + struct.pack("<QQ", 16, len(tags)), "<HHQQ"
    else:
        head, entry = b"II*\x00" + struct.pack("<IH", 8, len(tags)), "<HHII"
    return head + b"".join(struct.pack(entry, *tag) for tag in sorted(tags)) + bytes(8) + rest


def tiff_picture(
    width: int, *tags: Tag, height: int | None = None, compression: int = 1
) -> list[Tag]:
    """Return the tags of a grey image; it is square unless `height` is given."""
    return [
        (256, 4, 1, width),
        (257, 4, 1, height or width),
        (258, 3, 1, 8),
        (259, 3, 1, compression),
        (262, 3, 1, 1),
        (277, 3, 1, 1),
        *tags,
    ]


def tiff_of_strips(number: int) -> bytes:
    """Build a small image of many strips, all at the same offset."""

    def tags(at: int) -> list[Tag]:
        table = (273, 4, number, at), (278, 4, 1, 1), (279, 4, number, at)
        return tiff_picture(64, *table)

    at = len(tiff_of(tags(0)))
    return tiff_of(tags(at), struct.pack("<I", at) * number)


def tiff_of_one_tile(side_px: int) -> bytes:
    """Build a small image in one large tile of zeros, deflated."""
    tile = zlib.compress(bytes(side_px**2), 9)

    def tags(at: int) -> list[Tag]:
        table = (324, 4, 1, at), (325, 4, 1, len(tile))
        return tiff_picture(64, (322, 4, 1, side_px), (323, 4, 1, side_px), *table, compression=8)

    return tiff_of(tags(len(tiff_of(tags(0)))), tile)


def tiff_of_tiles(length_px: int) -> bytes:
    """Build an image of one row in tiles of thousands of rows, all at the same offset."""
    width, across = 65_535, 4096
    tile = zlib.compress(bytes(16 * length_px), 9)

    def tags(at: int) -> list[Tag]:
        table = (324, 4, across, at), (325, 4, across, at + 4 * across)
        tiles = (322, 4, 1, 16), (323, 4, 1, length_px)
        return tiff_picture(width, *tiles, *table, height=1, compression=8)

    at = len(tiff_of(tags(0)))
    places = struct.pack("<I", at + 8 * across) * across
    return tiff_of(tags(at), places + struct.pack("<I", len(tile)) * across + tile)


def bmp(width: int, height: int) -> bytes:
    """Build a BMP whose header declares this size."""
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 2**20, 0, 0, 54) + head + bytes(1000)


def webp_animation(canvas_px: int) -> bytes:
    """Build an animated WebP with a large canvas and one small frame."""
    frame = encoded(Image.new("RGB", (16, 16)), "WEBP")[12:]
    placed = bytes(6) + (15).to_bytes(3, "little") * 2 + bytes(4) + frame
    canvas = (canvas_px - 1).to_bytes(3, "little") * 2
    body = b"VP8X" + struct.pack("<I", 10) + b"\x02\x00\x00\x00" + canvas
    body += b"ANIM" + struct.pack("<I", 6) + bytes(6)
    body += b"ANMF" + struct.pack("<I", len(placed)) + placed
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def webp_still(*, lossless: bool) -> bytes:
    """Build a WebP still whose header declares the maximum size."""
    whole = bytearray(encoded(SMALL, "WEBP", lossless=lossless))
    longest = 0x3FFF
    if lossless:
        whole[21:25] = struct.pack("<I", (longest - 1) << 14 | (longest - 1))
    else:
        whole[26:30] = struct.pack("<HH", longest, longest)
    return bytes(whole)


def avif(side_px: int) -> bytes:
    """Build an AVIF whose container declares this size."""
    whole = encoded(SMALL, "AVIF")
    size = whole.index(b"ispe") + 8
    return whole[:size] + struct.pack(">II", side_px, side_px) + whole[size + 8 :]


def heif(side_px: int) -> bytes:
    """Build a HEIC that declares this size."""
    whole = encoded(SMALL, "HEIF")
    size = whole.index(b"ispe") + 8
    return whole[:size] + struct.pack(">II", side_px, side_px) + whole[size + 8 :]


def heif_of_shared_bytes(items: int) -> bytes:
    """Build a HEIC whose table of items refers many times to the whole file."""
    extent = struct.pack(">HHHII", 1, 0, 1, 0, MANY)
    table = b"\0\0\0\0\x44\x00" + struct.pack(">H", items) + extent * items
    meta = b"\0\0\0\0" + _box(b"iloc", table)
    return _box(b"ftyp", b"heic\0\0\0\0heic") + _box(b"meta", meta) + _box(b"mdat", bytes(MANY))


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + kind + body


def jxl(side_px: int, *, extra_channels: int = 0) -> bytes:
    """Build a JPEG XL codestream of this size and number of extra channels, without pixels."""
    # Fields and their bits: no multiples of 8 px, each side minus 1 in 30 bits, no ratio; not the
    # default metadata, no extra fields; 8-bit integers in 16-bit buffers; the extra channels.
    fields = [(0, 1), (3, 2), (side_px - 1, 30), (0, 3), (3, 2), (side_px - 1, 30)]
    fields += [(0, 1), (0, 1), (0, 1), (0, 2), (1, 1)]
    fields += [(3, 2), (extra_channels - 1, 12)] if extra_channels else [(0, 2)]
    bits = "".join(f"{value:0{width}b}"[::-1] for value, width in fields)
    return b"\xff\x0a" + int(bits[::-1], 2).to_bytes(len(bits) // 8 + 1, "little") + bytes(64)


def frames(image_format: str, number: int) -> bytes:
    """Build an animation of frames of 2 x 2 pixels."""
    file = io.BytesIO()
    colours = ((n % 256, n // 256 % 256, 0) for n in range(number))
    first, *rest = (Image.new("RGB", (2, 2), colour) for colour in colours)
    first.save(file, image_format, save_all=True, append_images=rest)
    return file.getvalue()


TOO_LARGE: dict[str, Callable[[], bytes]] = {
    "PNG": lambda: png(HUGE_PX, HUGE_PX, 1, 0, bytes((HUGE_PX // 8 + 1) * HUGE_PX)),
    "JPEG": huge_jpeg,
    "WEBP, lossy": lambda: webp_still(lossless=False),
    "WEBP, lossless": lambda: webp_still(lossless=True),
    "WEBP, animated": lambda: webp_animation(HUGE_PX),
    "GIF, screen": lambda: gif_of(b"", screen_px=HUGE_PX),
    "GIF, frame": lambda: gif_of(b"", frame_px=HUGE_PX),
    "BMP": lambda: bmp(HUGE_PX, HUGE_PX),
    "TIFF": lambda: tiff_of(tiff_picture(HUGE_PX, (273, 4, 1, 8), (279, 4, 1, 8))),
    "TIFF, tile": lambda: tiff_of_one_tile(8192),
    "TIFF, tiles": lambda: tiff_of_tiles(65_520),
    "AVIF": lambda: avif(10_000),
    "HEIF": lambda: heif(10_000),
    "JXL": lambda: jxl(10_000),
}
TOO_MANY_ELEMENTS: dict[str, Callable[[], bytes]] = {
    "PNG, chunks": lambda: png_of(*[(b"prVt", b"")] * 50_000),
    "PNG, empty data": lambda: png_of(*[(b"IDAT", b"")] * 50_000),
    "JPEG, EXIF segments": lambda: jpeg_of((b"\xff\xe1\x04\x08Exif\0\0" + bytes(1024)) * 1001),
    "JPEG, comments": lambda: jpeg_of(b"\xff\xfe\x00\x02" * MANY),
    "JPEG, padding": lambda: jpeg_of(b"\xff" * MANY),
    "GIF, comment": lambda: gif_of(b"!\xfe" + b"\x01x" * MANY + b"\x00"),
    "GIF, extensions": lambda: gif_of(b"!\x01\x00" * MANY),
    "TIFF, strips": lambda: tiff_of_strips(MANY),
    "HEIF, shared bytes": lambda: heif_of_shared_bytes(500),
    "HEIF, empty items": lambda: (
        _box(b"ftyp", b"heic\0\0\0\0heic")
        + _box(b"meta", bytes(4) + _box(b"iloc", b"\2\0\0\0\0\0" + b"\0\1\0\0" + bytes(MANY)))
    ),
    "JXL, boxes": lambda: b"\0\0\0\x0cJXL \r\n\x87\n" + _box(b"xxxx", b"") * 50_000,
    "TIFF, tags": lambda: tiff_of([(60_000, 99, 1, 0)] * 50_000, big=True),
}
METADATA_BOMBS: dict[str, Callable[[], bytes]] = {
    "TIFF, repeating tags": lambda: tiff_of([(1000 + n, 7, 50_000, 8) for n in range(5000)]),
}
HARMLESS: dict[str, Callable[[], bytes]] = {
    "PNG, profiles": lambda: png_of(*[(b"iCCP", b"icc\x00\x00" + ZEROS[:1000])] * 21),
    "PNG, text": lambda: png_of((b"zTXt", b"Comment\x00\x00" + ZEROS)),
    "PNG, international text": lambda: png_of((b"iTXt", b"Comment\x00\x01\x00\x00\x00" + ZEROS)),
    "PNG, profile": lambda: png_of((b"iCCP", b"icc\x00\x00" + ZEROS)),
    "JPEG, repeating EXIF": lambda: jpeg_of(
        b"\xff\xe1" + struct.pack(">H", 60_025) + repeating_exif()[:60_023]
    ),
    "JPEG, profile of 4 MB": lambda: jpeg_of(
        b"".join(
            b"\xff\xe2\xff\xff" + (b"ICC_PROFILE\x00" + bytes([n, 64])).ljust(65_533, b"x")
            for n in range(1, 65)
        )
    ),
    "TIFF, table of a profile": lambda: encoded(SMALL, "TIFF", icc_profile=huge_table(b"mft2")),
    "WEBP, table of a profile": lambda: encoded(SMALL, "WEBP", icc_profile=huge_table(b"mAB ")),
    "PNG, stages of a profile": lambda: encoded(SMALL, "PNG", icc_profile=many_stages()),
    "GIF, frames": lambda: frames("GIF", 300),
    "PNG, frames": lambda: frames("PNG", 300),
    "WEBP, frames": lambda: frames("WEBP", 300),
    "TIFF, frames": lambda: frames("TIFF", 300),
}


@cache
def image_file(name: str) -> bytes:
    """Return the file with this name; it is built once."""
    return (TOO_LARGE | TOO_MANY_ELEMENTS | METADATA_BOMBS | HARMLESS)[name]()
