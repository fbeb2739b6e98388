"""The orientation in XMP is not applied; animations and GIFs decode although their end is cut."""

import pytest

from tests.support.jpegs import segment
from tests.support.photos import encoded, png_chunk, sample
from tests.support.pixels import assert_same, decoded

XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)
PHOTO = sample("chelsea").resize((60, 40))


def jpeg() -> bytes:
    data = encoded(PHOTO, "JPEG", quality=95)
    return data[:2] + segment(0xE1, b"http://ns.adobe.com/xap/1.0/\x00" + XMP) + data[2:]


def png() -> bytes:
    data = encoded(PHOTO, "PNG")
    at = data.index(b"IDAT") - 4
    return data[:at] + png_chunk(b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + XMP) + data[at:]


def gif() -> bytes:
    data = encoded(PHOTO.quantize(256), "GIF")
    at = 13 + 3 * 256
    trailer = b"\x01" + bytes(range(255, -1, -1)) + b"\x00"
    return data[:at] + b"!\xff\x0bXMP DataXMP" + XMP + trailer + data[at:]


@pytest.mark.parametrize(
    ("data", "mean_error"),
    [
        pytest.param(jpeg(), 4.0, id="JPEG"),
        pytest.param(png(), 0.0, id="PNG"),
        pytest.param(encoded(PHOTO, "WEBP", lossless=True, xmp=XMP), 0.0, id="WebP"),
        pytest.param(encoded(PHOTO, "TIFF", tiffinfo={700: XMP}), 0.0, id="TIFF"),
        pytest.param(
            encoded(PHOTO, "TIFF", tiffinfo={700: XMP}, compression="tiff_lzw"), 0.0, id="LZW TIFF"
        ),
        pytest.param(gif(), 8.0, id="GIF"),
    ],
)
def test_orientation_in_xmp_is_not_applied(data: bytes, mean_error: float) -> None:
    assert_same(decoded(data), PHOTO, mean_error)


@pytest.mark.parametrize("image_format", ["GIF", "PNG"])
@pytest.mark.parametrize("cut", [1, 200])
def test_animation_cut_after_first_frame_is_decoded(image_format: str, cut: int) -> None:
    first, second = PHOTO.quantize(16), sample("coffee").resize((60, 40)).quantize(16)
    data = encoded(first, image_format, save_all=True, append_images=[second])
    assert_same(decoded(data[:-cut]), first.convert("RGB"))


def test_gif_without_trailer_is_decoded() -> None:
    palette = PHOTO.quantize(16)
    assert_same(decoded(encoded(palette, "GIF")[:-1]), palette.convert("RGB"))


def test_large_xmp_of_webp_is_ignored() -> None:
    data = encoded(PHOTO, "WEBP", lossless=True, xmp=b"x" * 3_000_000)
    assert_same(decoded(data), PHOTO)
