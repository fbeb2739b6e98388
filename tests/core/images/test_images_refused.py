"""Invalid and malicious image files are rejected quickly, with the reason."""

import io
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from app.core.images import ImageLimits
from app.core.images.decoding import decode
from app.core.images.formats import SUPPORTED_FORMATS
from app.core.images.jpeg import MAX_JPEG_SCANS, MAX_SCANNED_PIXELS
from app.core.images.limits import MAX_SIDE_PX
from app.errors import ImageError
from tests.support.photos import encoded, png, sample

# The warning filters of pytest override the one that the module sets.
pytestmark = pytest.mark.filterwarnings(r"ignore::UserWarning:PIL\.")


def refused(data: bytes, limits: ImageLimits | None = None) -> ImageError:
    with pytest.raises(ImageError) as caught:
        decode(data, limits or ImageLimits(), min_side_px=448)
    return caught.value


def ftyp(*brands: bytes) -> bytes:
    body = b"ftyp" + brands[0] + b"\x00\x00\x00\x00" + b"".join(brands[1:])
    return struct.pack(">I", len(body) + 4) + body + bytes(64)


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (b"", "empty", "no bytes"),
        (b"a photo of a beach", "not_an_image", "send JPEG, PNG"),
        (b"BMW in front of a hotel", "not_an_image", "send JPEG, PNG"),
        (b"<!doctype html><html></html>", "not_an_image", "send JPEG, PNG"),
        (b"\xff", "not_an_image", "send JPEG, PNG"),
        (bytes(1000), "not_an_image", "send JPEG, PNG"),
        (ftyp(b"heic", b"mif1", b"heic"), "corrupt", "HEIC"),
        (ftyp(b"mif1", b"heix"), "corrupt", "HEIC"),
        (b'<?xml version="1.0"?>\n<svg xmlns="x"/>', "unsupported_format", "SVG"),
        (b"\xef\xbb\xbf  <svg width='1'/>", "unsupported_format", "SVG"),
        (b"%PDF-1.7\n", "unsupported_format", "PDF"),
        (b"8BPS\x00\x01", "unsupported_format", "Photoshop"),
        (b"\x00\x00\x01\x00\x01\x00", "unsupported_format", "ICO"),
        (b"\xff\x0a\x00", "corrupt", "JPEG XL"),
        (b"\xff\xd8\xff\xe0", "corrupt", "JPEG"),
        (b"GIF89a" + bytes(7), "corrupt", "GIF"),
        (b"II+\x00\x08\x00\x00\x00" + b"\xff" * 8, "corrupt", "TIFF"),
        (b"\x89PNG\r\n\x1a\n", "corrupt", "PNG"),
        (b"GIF89a" + bytes(7) + b"," + bytes(9) + b"\x02\x01\x44\x00;", "corrupt", "GIF"),
    ],
)
def test_unusable_bytes_raise_with_code_and_advice(data: bytes, code: str, words: str) -> None:
    error = refused(data)
    assert error.code == code
    assert words in error.message


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("kept", [0.001, 0.1, 0.5, 0.99])
def test_truncated_file_raises(image_format: str, kept: float) -> None:
    data = encoded(sample("china"), image_format)
    error = refused(data[: int(len(data) * kept)])
    assert error.code == "corrupt"
    assert "truncated" in error.message


def test_truncated_progressive_jpeg_raises() -> None:
    data = encoded(sample("china"), "JPEG", progressive=True)
    assert "truncated" in refused(data[: len(data) // 2]).message


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_samples_without_defined_white_raise(dtype: type) -> None:
    data = encoded(Image.fromarray(np.ones((2, 2), dtype=dtype)), "TIFF")
    error = refused(data)
    assert error.code == "unsupported_format"
    assert "8 or 16 bits" in error.message


def test_byte_limit_is_exact_and_checked_first() -> None:
    data = encoded(sample("chelsea"), "JPEG")
    decode(data, ImageLimits(max_bytes=len(data)), min_side_px=448)
    error = refused(data, ImageLimits(max_bytes=len(data) - 1, max_pixels=1))
    assert error.code == "too_many_bytes"
    assert f"{len(data) - 1:,}" in error.message


@pytest.mark.parametrize("image_format", SUPPORTED_FORMATS)
def test_pixel_limit_is_exact(image_format: str) -> None:
    data = encoded(Image.new("RGB", (50, 40)), image_format)
    decode(data, ImageLimits(max_pixels=2000), min_side_px=1)
    error = refused(data, ImageLimits(max_pixels=1999))
    assert error.code == "too_many_pixels"
    assert "50 x 40" in error.message


def test_pixel_limit_replaces_pillows_limit() -> None:
    large = Image.new("L", (20_000, 9_000), 128)  # Pillow's own limit is 178,956,970 pixels
    limits = ImageLimits(max_pixels=large.width * large.height)
    photo = decode(encoded(large, "JPEG"), limits, min_side_px=448)
    assert (photo.width, photo.height) == large.size


def test_too_long_side_raises() -> None:
    error = refused(png(1, MAX_SIDE_PX + 1, 1, 0, b""))
    assert error.code == "too_many_pixels"
    assert "65,535" in error.message


def test_jpeg_with_too_many_scans_raises() -> None:
    jpeg = encoded(sample("chelsea").resize((48, 32)), "JPEG", progressive=True)
    first = jpeg.index(b"\xff\xda")
    scan = jpeg[first : jpeg.index(b"\xff\xc4", first)]
    error = refused(jpeg[:first] + scan * MAX_JPEG_SCANS + jpeg[first:])
    assert error.code == "corrupt"
    assert "scans" in error.message


def test_scan_limit_decreases_with_jpeg_size() -> None:
    jpeg = encoded(Image.new("L", (7000, 7000)), "JPEG", progressive=True)
    last = jpeg[jpeg.rindex(b"\xff\xda") : -2]
    more = MAX_SCANNED_PIXELS // 7000**2 - jpeg.count(b"\xff\xda") + 1
    assert "scans" in refused(jpeg[:-2] + last * more + jpeg[-2:]).message


def test_video_after_jpeg_has_no_scans() -> None:
    film = b"\xff\xda" * 1000
    jpeg = encoded(sample("chelsea"), "JPEG", progressive=True, comment=film)
    assert decode(jpeg + film, ImageLimits(), min_side_px=448).source == "JPEG"


@pytest.mark.parametrize(("coding", "pixels"), [(1, b"\x02\x07\x00\x01"), (2, b"\x02\x11\x00\x01")])
def test_run_length_encoded_bitmap_raises(coding: int, pixels: bytes) -> None:
    bits = {1: 8, 2: 4}[coding]
    head = struct.pack("<IiiHHIIiiII", 40, 2, 1, 1, bits, coding, len(pixels), 0, 0, 2, 0)
    palette = bytes(4 * 2)
    start = struct.pack("<IHHI", 54 + len(palette) + len(pixels), 0, 0, 54 + len(palette))
    error = refused(b"BM" + start + head + palette + pixels)
    assert error.code == "unsupported_format"
    assert "run-length" in error.message


ODD_FILES = """
import pathlib, sys
from app.core.images.decoding import decode
from app.core.images.limits import ImageLimits
for path in sys.argv[1:]:
    decode(pathlib.Path(path).read_bytes(), ImageLimits(), min_side_px=448)
"""


def test_invalid_metadata_logs_nothing(tmp_path: Path) -> None:
    photo = sample("chelsea").resize((48, 32))
    half_transparent = encoded(photo.quantize(4), "PNG", transparency=b"\x00\x40\x80\xff")
    broken_animation = png(2, 1, 8, 0, b"\x00\x10\x20", acTL=bytes(8))
    broken_exif = encoded(photo, "JPEG", exif=b"Exif\x00\x00II*\x00\x08\x00\x00\x00\xff\x00\x12")
    paths = []
    for index, data in enumerate([half_transparent, broken_animation, broken_exif]):
        paths.append(tmp_path / str(index))
        paths[-1].write_bytes(data)
    command = [sys.executable, "-W", "error", "-c", ODD_FILES, *map(str, paths)]
    run = subprocess.run(command, capture_output=True, check=False)
    assert (run.returncode, run.stderr) == (0, b"")


SMALL_FILES = [
    encoded(image, image_format)
    for image_format in SUPPORTED_FORMATS
    for image in (sample("chelsea").resize((48, 32)), sample("coffee").resize((31, 17)).quantize(8))
    if image.mode == "RGB" or image_format in ("PNG", "GIF", "BMP", "TIFF")
]


def decodes_or_is_refused(data: bytes) -> None:
    try:
        photo = decode(data, ImageLimits(max_pixels=1_000_000), min_side_px=16)
    except ImageError as error:
        assert error.message
        return
    assert photo.pixels.shape[2] == 3
    assert min(photo.pixels.shape) >= 1
    assert min(photo.width, photo.height) >= 1


@settings(max_examples=300)
@given(
    magic=st.sampled_from([b"", *(data[:16] for data in SMALL_FILES)]),
    rest=st.binary(max_size=300),
)
def test_arbitrary_bytes_decode_or_raise_image_error(magic: bytes, rest: bytes) -> None:
    decodes_or_is_refused(magic + rest)


@settings(max_examples=600)
@given(
    original=st.sampled_from(SMALL_FILES),
    changes=st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=8)), max_size=6),
    kept=st.floats(0, 1),
)
def test_damaged_files_decode_or_raise_image_error(
    original: bytes, changes: list[tuple[float, bytes]], kept: float
) -> None:
    file = io.BytesIO(original)
    for place, replacement in changes:
        file.seek(int(place * len(original)))
        file.write(replacement)
    damaged = file.getvalue()
    decodes_or_is_refused(damaged)
    decodes_or_is_refused(damaged[: int(kept * len(damaged))])
