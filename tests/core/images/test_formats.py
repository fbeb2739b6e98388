"""Formats are detected by signature, and those that are not supported are named."""

import struct
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import features

from app.core.images.formats import ADVICE, SUPPORTED_FORMATS, identify
from app.errors import ImageError
from tests.support.photos import encoded, sample

# The warning filters of pytest override the one that the module sets.
pytestmark = pytest.mark.filterwarnings(r"ignore::UserWarning:PIL\.")


def ftyp(*brands: bytes) -> bytes:
    body = b"ftyp" + brands[0] + b"\x00\x00\x00\x00" + b"".join(brands[1:])
    return struct.pack(">I", len(body) + 4) + body + bytes(64)


@pytest.mark.parametrize("image_format", SUPPORTED_FORMATS)
def test_supported_format_is_identified(image_format: str) -> None:
    assert identify(encoded(sample("coffee").resize((16, 16)), image_format)) == image_format


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\x00\x00\x00\x0cjP  \r\n", "JPEG 2000 images"),
        (b"\xff\x4f\xff\x51\x00\x29", "JPEG 2000 images"),
        (b"II\xbc\x01", "JPEG XR images"),
        (b"8BPS\x00\x02", "Photoshop images"),
        (b"\x00\x00\x01\x00\x01\x00", "ICO images"),
        (b"icns\x00\x00", "ICNS images"),
        (b"qoif\x00\x00\x00\x10", "QOI images"),
        (b"FLIF44", "FLIF images"),
        (b"DDS |\x00\x00\x00", "DDS images"),
        (b"\x76\x2f\x31\x01\x02", "OpenEXR images"),
        (b"#?RADIANCE\nFORMAT=", "Radiance HDR images"),
        (b"SIMPLE  =                    T", "FITS images"),
        (bytes(128) + b"DICM\x02\x00", "DICOM images"),
        (b"\xd7\xcd\xc6\x9a\x00\x00", "WMF images"),
        (b"\x01\x00\x00\x00" + bytes(36) + b" EMF", "EMF images"),
        (b"P6\n# made by hand\n640 480\n255\n", "Netpbm images"),
        (b"P1 3 4\n", "Netpbm images"),
        (b"P7\nWIDTH 3\n", "Netpbm images"),
        (b"Pf\n3 4\n-1.0\n", "Netpbm images"),
        (b"%PDF-1.7\n", "PDF documents"),
        (b"%!PS-Adobe-3.0", "PostScript documents"),
        (b'<?xml version="1.0"?>\n<svg xmlns="x"/>', "SVG images"),
        (b"FUJIFILMCCD-RAW 0201", "camera raw images (RAF)"),
        (b"FOVb\x00\x00", "camera raw images (X3F)"),
        (b"IIRO\x08\x00", "camera raw images (ORF)"),
        (b"IIU\x00\x18\x00", "camera raw images (RW2)"),
        (ftyp(b"crx ", b"crx ", b"isom"), "camera raw images (CR3)"),
        (ftyp(b"isom", b"iso2", b"mp41"), "MP4 videos"),
        (ftyp(b"qt  "), "QuickTime videos"),
        (ftyp(b"hevc", b"msf1"), "HEIC sequences"),
        (b"\x1a\x45\xdf\xa3\x9f", "Matroska and WebM videos"),
        (b"RIFF\x00\x00\x00\x00AVI LIST", "AVI videos"),
    ],
)
def test_unsupported_format_is_named(data: bytes, name: str) -> None:
    with pytest.raises(ImageError) as caught:
        identify(data)
    assert caught.value.code == "unsupported_format"
    assert caught.value.message == f"{name} are not supported: {ADVICE}"


@pytest.mark.parametrize(
    "data",
    [
        b"P6 is a pixel format",
        b"Photos of a hotel",
        b"BMW in front of a hotel",
        b"RIFF\x00\x00\x00\x00WAVEfmt ",
        ftyp(b"xxxx"),
        b"\x00\x00\x00\x02ftypheic",
        b"MM",
    ],
)
def test_other_bytes_are_no_image(data: bytes) -> None:
    with pytest.raises(ImageError) as caught:
        identify(data)
    assert caught.value.code == "not_an_image"


def test_advice_names_installed_formats() -> None:
    avif = ", AVIF" if features.check("avif") else ""
    expected = f"send JPEG, PNG, WEBP, GIF, BMP, TIFF{avif}, HEIC or JPEG XL"
    assert expected == ADVICE


WITHOUT_EXTRAS = """
import pathlib, sys
sys.modules["pillow_heif"] = sys.modules["pillow_jxl"] = None  # as if not installed
from importlib import util
found = util.find_spec
util.find_spec = lambda name: None if sys.modules.get(name, ...) is None else found(name)
from app.core.images.decoding import decode
from app.core.images.limits import ImageLimits
from app.errors import ImageError
for path in sys.argv[1:]:
    try:
        print(decode(pathlib.Path(path).read_bytes(), ImageLimits(), min_side_px=16).source)
    except ImageError as error:
        print(error.code, error.message)
"""


@pytest.mark.slow
def test_missing_extras_are_named(tmp_path: Path) -> None:
    paths = []
    for image_format in ("JPEG", "HEIF", "JXL"):
        paths.append(tmp_path / image_format)
        paths[-1].write_bytes(encoded(sample("coffee").resize((16, 16)), image_format))
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS, *map(str, paths)],
        capture_output=True,
        check=True,
        text=True,
    )
    jpeg, heic, jxl = run.stdout.splitlines()
    assert jpeg == "JPEG"
    assert heic.startswith("unsupported_format HEIC images")
    assert "pip install 'mumic[heif]'" in heic
    assert jxl.startswith("unsupported_format JPEG XL images")
    assert "pip install 'mumic[jxl]'" in jxl
    assert not heic.endswith(("HEIC", "JPEG XL"))
