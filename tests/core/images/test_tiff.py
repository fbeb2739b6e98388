"""TIFF layouts decode to the right pixels or are refused by name."""

import io
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image
from skimage.color import rgb2lab

from app.core.images.tiff import check_tiff_layout
from app.errors import ImageError
from tests.support.photos import encoded, sample
from tests.support.pixels import decoded, pixels
from tests.support.tiffs import ASCII, BYTE, LONG, SHORT, picture, tiff

Samples = npt.NDArray[Any]

RGB: Samples = np.asarray(sample("coffee").resize((50, 38)))  # sides of no whole tile or strip
HEIGHT, WIDTH = RGB.shape[:2]
GREY: Samples = np.asarray(Image.fromarray(RGB).convert("L"))
ALPHA: Samples = np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1))
GREY_RGB = np.stack([GREY] * 3, -1)
BYTE_ORDERS: Sequence[Literal["<", ">"]] = ("<", ">")
SUB_IFDS, EXTRA_SAMPLES, SAMPLE_FORMAT, FILL_ORDER, PREDICTOR = 330, 338, 339, 266, 317
SUBFILE_TYPE, OLD_SUBFILE_TYPE, MAKE, DNG_VERSION = 254, 255, 271, 50706


def tiff_file(samples: Samples, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, samples, metadata=None, **options)
    return file.getvalue()


def over_white(rgb: Samples) -> Samples:
    weight = ALPHA[..., None] / 255
    return rgb * weight + 255 * (1 - weight)


def assert_pixels(data: bytes, expected: Samples, max_mean: float = 1.0) -> None:
    found = pixels(decoded(data).pixels)
    assert found.shape == expected.shape
    assert np.abs(found - expected).mean() <= max_mean


def refusal(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decoded(data)
    assert caught.value.code == "unsupported_format"
    return caught.value.message


PREMULTIPLIED = np.dstack([np.round(RGB * (ALPHA[..., None] / 255)).astype(np.uint8), ALPHA])
CMYK = np.dstack([255 - RGB, np.zeros_like(GREY)])
CHUNKY: dict[str, tuple[Samples, dict[str, Any], Samples]] = {
    "grey": (GREY, {"photometric": "minisblack"}, GREY_RGB),
    "white is zero": (255 - GREY, {"photometric": "miniswhite"}, GREY_RGB),
    "RGB": (RGB, {"photometric": "rgb"}, RGB),
    "RGB, alpha": (
        np.dstack([RGB, ALPHA]),
        {"photometric": "rgb", "extrasamples": ["unassalpha"]},
        over_white(RGB),
    ),
    "RGB, premultiplied": (
        PREMULTIPLIED,
        {"photometric": "rgb", "extrasamples": ["assocalpha"]},
        over_white(RGB),
    ),
    "RGB, unspecified": (
        np.dstack([RGB, ALPHA]),
        {"photometric": "rgb", "extrasamples": ["unspecified"]},
        RGB,
    ),
    "CMYK": (CMYK, {"photometric": "separated"}, RGB),
}
PLANAR = [name for name, (samples, _, _) in CHUNKY.items() if samples.ndim == 3]
CONTAINERS: dict[str, dict[str, Any]] = {
    "uncompressed": {},
    "strips": {"rowsperstrip": 16},
    "tiles": {"tile": (16, 32)},
    "Deflate": {"compression": "deflate", "rowsperstrip": 16},
    "Deflate, tiles": {"compression": "deflate", "tile": (16, 32)},
    "Deflate, predictor": {"compression": "deflate", "predictor": 2},
    "LZMA": {"compression": "lzma"},
}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("byte_order", BYTE_ORDERS)
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("layout", CHUNKY)
def test_chunky_layout_decodes_to_its_pixels(
    layout: str, bits: int, byte_order: str, container: str
) -> None:
    samples, options, expected = CHUNKY[layout]
    if bits == 16:
        samples = samples.astype(np.uint16) * 257
    options = {"planarconfig": "contig" if samples.ndim == 3 else None, **options}
    data = tiff_file(samples, byteorder=byte_order, **options, **CONTAINERS[container])
    assert_pixels(data, expected)


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("byte_order", BYTE_ORDERS)
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("layout", PLANAR)
def test_separate_planes_decode_to_their_pixels(
    layout: str, bits: int, byte_order: str, container: str
) -> None:
    samples, options, expected = CHUNKY[layout]
    if bits == 16:
        samples = samples.astype(np.uint16) * 257
    planes = np.ascontiguousarray(np.moveaxis(samples, -1, 0))
    options = options | {"planarconfig": "separate"} | CONTAINERS[container]
    assert_pixels(tiff_file(planes, byteorder=byte_order, **options), expected)


@pytest.mark.parametrize("compression", ["packbits", "tiff_lzw", "tiff_deflate", "zstd"])
def test_compressions_of_libtiff_decode(compression: str) -> None:
    assert_pixels(encoded(Image.fromarray(RGB), "TIFF", compression=compression), RGB)


@pytest.mark.parametrize("compression", ["tiff_ccitt", "group3", "group4"])
def test_fax_compression_decodes(compression: str) -> None:
    page = Image.fromarray(GREY > 128)
    data = encoded(page, "TIFF", compression=compression)
    assert_pixels(data, np.asarray(page.convert("RGB")))


def test_little_endian_bigtiff_decodes() -> None:
    assert_pixels(tiff_file(RGB, photometric="rgb", bigtiff=True, byteorder="<"), RGB)


def packed(samples: Samples, bits: int) -> bytes:
    rows = (samples[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(rows.reshape(len(samples), -1).astype(np.uint8), axis=1).tobytes()


@pytest.mark.parametrize("compression", [1, 8])
@pytest.mark.parametrize("order", BYTE_ORDERS)
@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("bits", [1, 2, 4, 12])
def test_grey_of_other_depths_decodes(
    bits: int, photometric: int, order: Literal["<", ">"], compression: int
) -> None:
    white = 2**bits - 1
    samples = np.round(GREY / 255 * white).astype(np.uint16)
    expected = np.round(samples / white * 255)
    stored = packed(samples if photometric else white - samples, bits)
    tags = picture(WIDTH, HEIGHT, photometric=photometric, bits=[bits], compression=compression)
    data = tiff(tags, zlib.compress(stored) if compression == 8 else stored, order=order)
    assert_pixels(data, np.stack([expected] * 3, -1))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palette_of_each_depth_decodes(bits: int) -> None:
    indices = GREY >> 8 - bits
    red = np.arange(2**bits) * 65_535 // (2**bits - 1)
    colours = [*map(int, red), *map(int, red[::-1]), *([0] * 2**bits)]
    tags = picture(WIDTH, HEIGHT, photometric=3, bits=[bits]) | {320: (SHORT, colours)}
    expected = np.stack([red[indices] // 256, red[::-1][indices] // 256, 0 * GREY], -1)
    assert_pixels(tiff(tags, packed(indices, bits)), expected)


@pytest.mark.parametrize("compression", [1, 8])
@pytest.mark.parametrize(("photometric", "samples"), [(1, GREY), (0, 255 - GREY), (2, RGB)])
def test_reversed_bits_decode(photometric: int, samples: Samples, compression: int) -> None:
    bits = [8] * (3 if photometric == 2 else 1)
    tags = picture(WIDTH, HEIGHT, photometric=photometric, bits=bits, compression=compression)
    stored = zlib.compress(samples.tobytes()) if compression == 8 else samples.tobytes()
    reverse = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
    data = tiff(tags | {FILL_ORDER: (SHORT, [2])}, stored.translate(reverse))
    assert_pixels(data, RGB if photometric == 2 else GREY_RGB)


@pytest.mark.parametrize("compression", [1, 8])
@pytest.mark.parametrize("subsampling", [(1, 1), (2, 1), (2, 2), (4, 1)])
def test_subsampled_ycbcr_decodes(subsampling: tuple[int, int], compression: int) -> None:
    across, down = subsampling
    rgb = RGB[: HEIGHT // 4 * 4, : WIDTH // 4 * 4]
    height, width = rgb.shape[:2]
    luma, *chroma = (np.asarray(band) for band in Image.fromarray(rgb).convert("YCbCr").split())
    blocks = (height // down, down, width // across, across)
    units = luma.reshape(blocks).transpose(0, 2, 1, 3).reshape(height // down, width // across, -1)
    small = [band.reshape(blocks).mean((1, 3)).round().astype(np.uint8) for band in chroma]
    stored = np.dstack([units, *small]).tobytes()
    large = [band.repeat(down, 0).repeat(across, 1) for band in small]
    bands = [Image.fromarray(np.ascontiguousarray(band)) for band in (luma, *large)]
    expected = np.asarray(Image.merge("YCbCr", bands).convert("RGB"))
    tags = picture(width, height, photometric=6, bits=[8] * 3, compression=compression)
    tags[530] = (SHORT, subsampling)
    assert_pixels(tiff(tags, zlib.compress(stored) if compression == 8 else stored), expected)


def test_jpeg_compressed_tiff_decodes() -> None:
    photo = sample("chelsea")
    data = encoded(photo, "TIFF", compression="jpeg", quality=95)
    assert_pixels(data, np.asarray(photo), max_mean=4)


def test_cielab_is_converted_to_srgb() -> None:
    lightness, *opponents = np.moveaxis(rgb2lab(RGB, illuminant="D50"), -1, 0)
    bands = [np.round(lightness * 2.55).astype(np.uint8)]
    bands += [np.round(band).astype(np.int8).view(np.uint8) for band in opponents]
    tags = picture(WIDTH, HEIGHT, photometric=8, bits=[8] * 3)
    assert_pixels(tiff(tags, np.dstack(bands).tobytes()), RGB, max_mean=8)


def test_unspecified_extra_samples_of_rgb_are_ignored() -> None:
    five = np.dstack([RGB, ALPHA, GREY])
    options = {"photometric": "rgb", "planarconfig": "contig"}
    assert_pixels(tiff_file(five, extrasamples=["unspecified"] * 2, **options), RGB)
    assert_pixels(
        tiff_file(five, extrasamples=["unassalpha", "unspecified"], **options), over_white(RGB)
    )


SIGNED, FLOAT, UNDEFINED, COMPLEX = 2, 3, 4, 6


def layout(
    photometric: int, *bits: int, compression: int = 1, **tags: tuple[int, Sequence[int]]
) -> bytes:
    more = {int(name[1:]): value for name, value in tags.items()}
    base = picture(16, 16, photometric=photometric, bits=bits, compression=compression)
    return tiff(base | more, bytes(16 * 16 * sum(bits) // 8 + 1))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        *[
            (tiff_file(samples.astype(kind), photometric=photometric), words)
            for photometric, samples in (("minisblack", GREY), ("rgb", RGB))
            for kind, words in [
                (np.int8, "signed 8-bit"),
                (np.int16, "signed 16-bit"),
                (np.int32, "signed 32-bit"),
                (np.uint32, "32-bit"),
                (np.float16, "floating-point 16-bit"),
                (np.float32, "floating-point 32-bit"),
                (np.float64, "floating-point 64-bit"),
                (np.complex64, "complex 64-bit"),
            ]
        ],
        (layout(2, 8, 8, 8, t339=(SHORT, [1, 1, SIGNED])), "signed 8-bit"),
        (layout(2, 8, 8, 8, t339=(SHORT, [UNDEFINED] * 3)), "undefined 8-bit"),
        (layout(1, 10), "10-bit grey"),
        (layout(2, 12, 12, 12), "12-bit RGB"),
        (layout(2, 5, 6, 5), "different depths (5, 6, 5 bits)"),
        (layout(1, 16, 16, t338=(SHORT, [2])), "2 16-bit channels (grey)"),
        (layout(1, *[8] * 5, t338=(SHORT, [0] * 4)), "5 8-bit channels (grey)"),
        (layout(2, *[8] * 5, t338=(SHORT, [0, 2])), "5 8-bit channels (RGB)"),
        (layout(5, *[8] * 5, t338=(SHORT, [2])), "5 8-bit channels (CMYK)"),
        (layout(1, 8, 8, t338=(SHORT, [2]), t284=(SHORT, [2])), "separate planes"),
        (layout(1, 16, t266=(SHORT, [2])), "reversed bits"),
        (layout(1, 8, compression=8, t317=(SHORT, [3])), "predictor"),
        (layout(6, 8, 8, 8, t530=(SHORT, [4, 4])), "subsampling of 4 x 4"),
        (layout(4, 1), "transparency mask"),
        (layout(9, 8, 8, 8), "ICCLAB"),
        (layout(32845, 16, 16, 16), "LogLuv"),
        (layout(7, 8, 8, 8), "unknown colours (7)"),
        *[
            (layout(2, 8, 8, 8, compression=number), words)
            for number, words in [
                (34712, "JPEG 2000"),
                (34887, "LERC"),
                (50001, "WebP"),
                (50002, "JPEG XL"),
                (34661, "JBIG"),
                (12345, "unknown (12345)"),
            ]
        ],
        (tiff_file(GREY, bigtiff=True, byteorder=">"), "big-endian"),
    ],
)  # fmt: skip
def test_unsupported_layout_is_refused_by_name(data: bytes, words: str) -> None:
    message = refusal(data)
    assert words in message
    assert message.startswith("TIFF images with ")
    assert "8 or 16 bits per channel" in message


def pages(*sizes: int, **options: Any) -> bytes:
    """Build a TIFF with pages at fractions of the size; `options` belong to the first one."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for number, step in enumerate(sizes):
            page = RGB[::step, ::step]
            reduced = {"subfiletype": 1} if step > 1 else {}
            first = options if number == 0 else {}
            writer.write(page, photometric="rgb", metadata=None, **(reduced | first))
    return file.getvalue()


@pytest.mark.parametrize("options", [{}, {"subifds": 2}])
def test_pyramid_decodes_to_its_full_picture(options: dict[str, int]) -> None:
    assert_pixels(pages(1, 2, 4, **options), RGB)


def test_reduced_page_alone_is_decoded() -> None:
    assert_pixels(pages(2), RGB[::2, ::2])


def test_thumbnail_as_first_page_is_refused() -> None:
    assert "thumbnail as their first page" in refusal(pages(4, 1))


@pytest.mark.parametrize("kind", [{"subfiletype": 1}, {"subfiletype": 0}])
def test_larger_picture_in_subdirectory_is_refused(kind: dict[str, int]) -> None:
    assert "thumbnail as their first page" in refusal(pages(4, 1, subifds=1, **kind))


@pytest.mark.parametrize(
    ("make", "name"), [("NIKON CORPORATION", "NEF"), ("SONY", "ARW"), ("Canon", "CR2")]
)
def test_raw_with_preview_is_named_after_its_maker(make: str, name: str) -> None:
    message = refusal(pages(4, 1, subifds=1, extratags=[(MAKE, ASCII, 0, make, True)]))
    assert message.startswith(f"camera raw images ({name}) are not supported")


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (layout(2, 8, 8, 8, t50706=(BYTE, [1, 4, 0, 0])), "DNG"),
        (layout(32803, 16, t271=(ASCII, b"PENTAX")), "PEF"),
        (layout(32803, 16), "of a camera's sensor"),
        (layout(34892, 16, 16, 16, t50706=(BYTE, [1, 4, 0, 0])), "DNG"),
        (layout(1, 16, compression=34713, t271=(ASCII, b"NIKON")), "NEF"),
        (b"II*\0\x10\0\0\0CR\2\0" + bytes(100), "CR2"),
        (b"II*\0\x10\0\0\0IIII" + bytes(100), "IIQ"),
    ],
)
def test_camera_raw_is_refused_by_name(data: bytes, name: str) -> None:
    message = refusal(data)
    assert message.startswith(f"camera raw images ({name}) are not supported")
    assert "JPEG" in message


def test_picture_with_maker_and_pyramid_is_no_camera_raw() -> None:
    data = pages(1, 2, subifds=1, extratags=[(MAKE, ASCII, 0, "NIKON", True)])
    assert_pixels(data, RGB)


@pytest.mark.parametrize("cut", [9, 12, 60])
def test_truncated_directory_is_corrupt(cut: int) -> None:
    data = tiff_file(RGB, photometric="rgb", bigtiff=False)
    start = int.from_bytes(data[4:8], "little")
    with pytest.raises(ImageError) as caught:
        decoded(data[: start + cut - 8])
    assert caught.value.code == "corrupt"


def test_values_outside_the_file_are_ignored() -> None:
    tags = picture(16, 16, photometric=1, bits=[8])
    data = bytearray(tiff(tags | {339: (LONG, [1, 1])}, bytes(256)))
    at = data.index((339).to_bytes(2, "little"))
    data[at + 8 : at + 12] = b"\xff\xff\xff\x7f"
    check_tiff_layout(bytes(data))


@pytest.mark.parametrize("make", [lambda: layout(1, 8), lambda: tiff_file(RGB, photometric="rgb")])
def test_loop_of_directories_ends(make: Callable[[], bytes]) -> None:
    data = bytearray(make())
    start = int.from_bytes(data[4:8], "little")
    tags = int.from_bytes(data[start : start + 2], "little")
    end = start + 2 + 12 * tags
    data[end : end + 4] = data[4:8]
    assert decoded(bytes(data)).source == "TIFF"
