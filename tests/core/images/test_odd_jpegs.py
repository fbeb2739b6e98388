"""Unusual JPEGs decode to the right pixels, or the error names what they are."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from app.core.images import ImageLimits
from app.core.images.decoding import decode
from app.errors import ImageError
from tests.support.jpegs import blocks, jpeg_of_blocks, lossless_jpeg, segment, without_end
from tests.support.photos import encoded, sample
from tests.support.pixels import assert_same, decoded, exif

# The warning filters of pytest override the one that the module sets.
pytestmark = pytest.mark.filterwarnings(r"ignore::UserWarning:PIL\.")

# As in panoramas of phones: a name, a marker that JPEG does not have, and the start of a scan.
TRAILER = b"SEFT" * 50 + b"\xff\x5bfilm" * 50 + b"\xff\xda\x00\x08"
KINDS: dict[str, dict[str, int]] = {
    "baseline": {},
    "progressive": {"progressive": True},
    "optimised": {"optimize": True},
    "restart markers": {"restart_marker_blocks": 5},
}
PHOTO = sample("china").resize((322, 214))
FRACTIONAL = [(width, 1, np.full((1, width), 90)) for width in (3, 2, 1)]
GREY = blocks([[60, 90, 120], [150, 180, 210]])


def refused(data: bytes, limits: ImageLimits | None = None) -> ImageError:
    with pytest.raises(ImageError) as caught:
        decode(data, limits or ImageLimits(), min_side_px=16)
    return caught.value


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("trailer", [b"", TRAILER, bytes(1000)], ids=["none", "data", "zeros"])
def test_jpeg_without_end_marker_keeps_pixels(mode: str, kind: str, trailer: bytes) -> None:
    photo = PHOTO.convert(mode)
    data = encoded(photo, "JPEG", quality=85, **KINDS[kind])
    assert_same(decoded(without_end(data) + trailer), opened(data))


def test_jpeg_without_end_marker_is_decoded_scaled() -> None:
    data = encoded(PHOTO, "JPEG", quality=85)
    photo = decoded(without_end(data) + TRAILER, min_side_px=25)
    assert photo.source == "JPEG/8"
    assert np.array_equal(photo.pixels, decoded(data, min_side_px=25).pixels)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kept", [0.3, 0.9])
@pytest.mark.parametrize("rest", [b"", TRAILER, bytes(100_000)], ids=["none", "data", "zeros"])
def test_truncated_scan_raises(kind: str, kept: float, rest: bytes) -> None:
    data = without_end(encoded(PHOTO, "JPEG", quality=85, **KINDS[kind]))
    error = refused(data[: int(kept * len(data))] + rest)
    assert error.code == "corrupt"
    assert "truncated" in error.message


def test_scan_without_last_byte_raises() -> None:
    data = without_end(encoded(PHOTO, "JPEG", quality=85))
    assert "truncated" in refused(data[:-1]).message


def test_progressive_jpeg_without_last_scan_raises() -> None:
    data = encoded(PHOTO, "JPEG", quality=85, progressive=True)
    assert "truncated" in refused(data[: data.rindex(b"\xff\xda")]).message


def test_scan_with_damage_and_end_marker_is_decoded() -> None:
    data = encoded(PHOTO, "JPEG", quality=85)
    damaged = data[: len(data) // 2] + b"\xff\xd9"  # browsers show its upper half
    assert decoded(damaged).width == PHOTO.width


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (jpeg_of_blocks([(1, 1, GREY)], coding=0xC1, bits=12), "a JPEG of 12 bits per sample"),
        (jpeg_of_blocks([(1, 1, GREY)] * 2), "a JPEG of 2 components"),
        (jpeg_of_blocks([(1, 1, GREY)], coding=0xF7), "JPEG-LS"),
        (jpeg_of_blocks([(1, 1, GREY)], coding=0xC5), "a hierarchical JPEG"),
        (jpeg_of_blocks([(1, 1, GREY)], coding=0xCB), "an arithmetic-coded lossless JPEG"),
        (jpeg_of_blocks([(1, 1, GREY)], height=0), "height follows its pixels (DNL)"),
        (jpeg_of_blocks(FRACTIONAL), "a JPEG with fractional subsampling"),
    ],
)  # fmt: skip
def test_unsupported_jpeg_coding_is_named(data: bytes, what: str) -> None:
    error = refused(data)
    assert error.code == "unsupported_format"
    assert what in error.message
    assert "send a JPEG of 8 bits" in error.message


def test_lossless_jpeg_keeps_pixels() -> None:
    samples = np.asarray(sample("coffee").convert("L").resize((61, 43)))
    photo = decode(lossless_jpeg(samples), ImageLimits(), min_side_px=1)
    assert photo.source == "JPEG"
    assert np.array_equal(photo.pixels, np.repeat(samples[..., None], 3, axis=2))


@pytest.mark.parametrize(
    "factors",
    [
        [(2, 2), (1, 1), (1, 1)],
        [(4, 1), (1, 1), (1, 1)],
        [(1, 2), (1, 1), (1, 1)],
        [(4, 2), (1, 1), (1, 1)],  # libjpeg-turbo's simple interface refuses these
        [(2, 2), (2, 1), (1, 2)],
        [(1, 1), (2, 1), (2, 1)],
        [(3, 1), (1, 1), (1, 1)],
    ],
)
@pytest.mark.parametrize("min_side_px", [100_000, 3])
def test_any_subsampling_is_decoded(factors: list[tuple[int, int]], min_side_px: int) -> None:
    values = np.random.default_rng(0).integers(90, 170, (8, 12))
    components = [(h, v, values[: 2 * v, : 3 * h]) for h, v in factors]
    data = jpeg_of_blocks(components)
    photo = decoded(data, min_side_px=min_side_px)
    theirs = Image.open(io.BytesIO(data))
    assert (photo.width, photo.height) == theirs.size
    if photo.source != "JPEG":
        scale = int(photo.source.removeprefix("JPEG/"))
        theirs.draft(None, (theirs.width // scale, theirs.height // scale))
    assert np.array_equal(photo.pixels, np.asarray(theirs))


def test_missing_restart_marker_does_not_prevent_decoding() -> None:
    data = encoded(PHOTO, "JPEG", quality=85, restart_marker_blocks=20)
    assert_same(decoded(data.replace(b"\xff\xd3", b"", 1)), PHOTO, mean_error=12.0)


@pytest.mark.parametrize(
    ("marker", "body"),
    [
        (0xE0, b"JFIF\x00"),
        (0xE1, b"Exif\x00\x00"),
        (0xE1, b"Exif\x00\x00II*\x00\x08\x00\x00\x00\xff\xff"),
        (0xE2, b"ICC_PROFILE\x00"),
        (0xE2, b"MPF\x00MM\x00*\x00\x00\x00\x08\x00\x03"),
        (0xED, b"Photoshop 3.0\x008BIM"),
        (0xEE, b"Adobe"),
        (0xFE, b""),
    ],
)
def test_invalid_metadata_keeps_orientation(marker: int, body: bytes) -> None:
    upright = sample("chelsea").resize((48, 32))
    data = encoded(upright.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=95, exif=exif(6))
    photo = decoded(data[:2] + segment(marker, body) + data[2:])
    if body.startswith(b"Exif\x00\x00II"):  # libraries join Exif segments
        assert {photo.width, photo.height} == {48, 32}
    else:
        assert_same(photo, upright, mean_error=4.0)


def test_bytes_between_segments_are_ignored() -> None:
    data = encoded(sample("chelsea"), "JPEG", quality=85)
    frame = data.index(b"\xff\xc0")
    assert_same(decoded(data[:frame] + b"\x00between" + data[frame:]), opened(data))


class TestReducedPixelLimit:
    """The limit of baseline JPEGs that are decoded at 1/4 or 1/8 of their sides."""

    limits = ImageLimits(max_pixels=2500)

    @pytest.mark.parametrize(("width", "allowed"), [(100, True), (101, False)])
    def test_baseline_jpeg_may_have_four_times_the_pixels(self, width: int, allowed: bool) -> None:
        data = encoded(Image.new("RGB", (width, 100), "teal"), "JPEG")
        if allowed:
            photo = decode(data, self.limits, min_side_px=25)
            assert (photo.width, photo.height, photo.source) == (width, 100, "JPEG/4")
            return
        with pytest.raises(ImageError, match="2,500 are allowed, 10,000 in a baseline JPEG"):
            decode(data, self.limits, min_side_px=25)

    @pytest.mark.parametrize("mode", ["L", "CMYK"])
    def test_limit_applies_to_all_modes(self, mode: str) -> None:
        data = encoded(Image.new(mode, (100, 100)), "JPEG")
        assert decode(data, self.limits, min_side_px=25).pixels.shape == (25, 25, 3)

    @pytest.mark.parametrize("image_format", ["progressive", "PNG", "not reduced", "scans"])
    def test_other_images_keep_the_limit(self, image_format: str) -> None:
        image = Image.new("RGB", (100, 100), "teal")
        data = encoded(image, "JPEG")
        if image_format == "progressive":
            data = encoded(image, "JPEG", progressive=True)
        elif image_format == "PNG":
            data = encoded(image, "PNG")
        elif image_format == "scans":  # one scan for each component: memory for all coefficients
            data = data.replace(b"\xff\xda\x00\x0c\x03", b"\xff\xda\x00\x0c\x02")
        with pytest.raises(ImageError) as caught:
            decode(data, self.limits, min_side_px=26 if image_format == "not reduced" else 25)
        assert caught.value.code == "too_many_pixels"
        named = "the progressive JPEG is 100 x 100" in caught.value.message
        assert named == (image_format == "progressive")

    def test_file_that_only_pillow_decodes_is_reduced(self) -> None:
        data = encoded(PHOTO, "JPEG", quality=85)
        scan = data.index(b"\xff\xda")
        odd = data[:scan] + b"extraneous" + data[scan:]
        limits = ImageLimits(max_pixels=25_000)
        photo = decode(odd, limits, min_side_px=50)
        assert photo.source == "JPEG/4"
        assert np.array_equal(photo.pixels, decode(data, limits, min_side_px=50).pixels)


def test_repeated_scans_of_baseline_jpeg_are_not_decoded() -> None:
    data = encoded(sample("chelsea").resize((48, 32)), "JPEG")
    scan = data[data.index(b"\xff\xda") : -2]
    assert_same(decoded(data[:-2] + scan * 1000 + data[-2:]), opened(data))


def test_jpeg_in_exif_is_ignored() -> None:
    photo = sample("chelsea")
    thumbnail = encoded(Image.new("RGB", (16, 16), "red"), "JPEG")
    data = encoded(photo, "JPEG", quality=85)
    body = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x00" + struct.pack(">I", 0) + thumbnail
    assert_same(decoded(data[:2] + segment(0xE1, body) + data[2:]), opened(data))
