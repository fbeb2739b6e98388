"""PNGs with large, damaged or unknown chunks decode to the right pixels."""

import io
import random
import tracemalloc
import zlib

import pytest
from PIL import Image, ImageCms

from app.core.images import ImageLimits
from app.core.images.colour import MAX_PROFILE_BYTES
from app.core.images.decoding import decode
from app.core.images.png import strip_chunks
from app.errors import ImageError
from tests.support.photos import encoded, png_chunk, sample
from tests.support.pixels import assert_same, decoded, exif

PHOTO = sample("chelsea").resize((60, 40))
WHOLE = encoded(PHOTO, "PNG")
IDAT, IEND = WHOLE.index(b"IDAT") - 4, len(WHOLE) - 12
TEXT = b"Comment\x00" + bytes(range(32, 127)) * 20_000  # 1.9 MB


def with_chunk(name: bytes, body: bytes, *, damaged: bool = False) -> bytes:
    return WHOLE[:IDAT] + png_chunk(name, body, damaged=damaged) + WHOLE[IDAT:]


@pytest.mark.parametrize(
    ("name", "body"),
    [
        (b"tEXt", TEXT),
        (b"zTXt", b"Comment\x00\x00" + zlib.compress(TEXT)),
        (b"iTXt", b"XML:com.adobe.xmp\x00\x01\x00\x00\x00" + zlib.compress(TEXT)),
        (b"iCCP", b"scanner\x00\x00" + zlib.compress(bytes(1_500_000))),
        (b"iCCP", b"scanner\x00\x00" + zlib.compress(bytes(MAX_PROFILE_BYTES + 1))),
        (b"iCCP", b"scanner\x00\x00rubbish"),
        (b"iCCP", b"without an end"),
        (b"prVt", b"x"),
        (b"gAMA", b"x"),
        (b"cHRM", b"x" * 13),
        (b"sRGB", b""),
        (b"pHYs", b"x"),
        (b"tRNS", b"x"),
        (b"eXIf", b"x"),
        (b"acTL", b""),
    ],
    ids=lambda value: value[:10],  # not megabytes
)
@pytest.mark.parametrize("damaged", [False, True])
def test_chunk_without_effect_keeps_pixels(name: bytes, body: bytes, damaged: bool) -> None:
    assert_same(decoded(with_chunk(name, body, damaged=damaged)), PHOTO)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(WHOLE[:IEND], id="no end"),
        pytest.param(WHOLE[:-3], id="truncated end"),
        pytest.param(WHOLE[:IEND] + b"junk" * 100, id="junk instead of the end"),
        pytest.param(WHOLE + b"junk" * 100, id="trailing bytes"),
        pytest.param(WHOLE[:IEND] + png_chunk(b"tEXt", TEXT)[:500], id="truncated text at the end"),
        pytest.param(
            WHOLE[:IDAT]
            + png_chunk(b"IDAT", WHOLE[IDAT + 8 : IDAT + 500])
            + png_chunk(b"tEXt", b"a\x00b")
            + png_chunk(b"IDAT", WHOLE[IDAT + 500 : IEND - 4])
            + WHOLE[IEND:],
            id="text between pixels",
        ),
    ],
)
def test_whole_pixels_with_odd_end_are_decoded(data: bytes) -> None:
    assert_same(decoded(data), PHOTO)


@pytest.mark.parametrize("name", [b"IHDR", b"PLTE"])
def test_wrong_checksum_of_critical_chunk_raises(name: bytes) -> None:
    data = bytearray(encoded(PHOTO.quantize(8), "PNG"))
    at = data.index(name)
    data[at + 4 + int.from_bytes(data[at - 4 : at])] ^= 1
    with pytest.raises(ImageError) as caught:
        decode(bytes(data), ImageLimits(), min_side_px=1)
    assert caught.value.code == "corrupt"


def test_transparency_with_wrong_checksum_is_ignored() -> None:
    palette = PHOTO.quantize(8)
    data = bytearray(encoded(palette, "PNG", transparency=3))
    data[data.index(b"IDAT") - 5] ^= 1
    assert_same(decoded(bytes(data)), palette.convert("RGB"))


@pytest.mark.parametrize("after", [False, True])
def test_exif_is_applied_wherever_it_is(after: bool) -> None:
    stored = PHOTO.transpose(Image.Transpose.ROTATE_90)
    whole = encoded(stored, "PNG")
    at = whole.index(b"IEND" if after else b"IDAT") - 4
    data = whole[:at] + png_chunk(b"eXIf", exif(6).tobytes()[6:]) + whole[at:]
    assert_same(decoded(data), PHOTO)


def test_png_of_apple_is_named() -> None:
    data = WHOLE[:8] + png_chunk(b"CgBI", bytes(4)) + WHOLE[8:]
    with pytest.raises(ImageError, match="CgBI") as caught:
        decode(data, ImageLimits(), min_side_px=1)
    assert caught.value.code == "unsupported_format"


def test_only_chunks_that_affect_pixels_are_kept() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    whole = encoded(PHOTO.quantize(8), "PNG", transparency=3, dpi=(72, 72), icc_profile=profile)
    stripped, found = strip_chunks(whole)
    assert found == profile
    names = [name for name, *_ in chunks(stripped)]
    assert names == [b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"]
    assert strip_chunks(stripped) == (stripped, None)
    assert strip_chunks(stripped)[0] is stripped


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4])
        found.append((data[at + 4 : at + 8], data[at + 8 : end - 4]))
        at = end
    return found


def test_profile_limit_is_exact() -> None:
    noise = random.Random(0).randbytes(MAX_PROFILE_BYTES)
    for profile, found in ((noise, noise), (noise + b"x", None)):
        data = with_chunk(b"iCCP", b"icc\x00\x00" + zlib.compress(profile, 0))
        assert strip_chunks(data)[1] == found


def test_bomb_in_profile_does_not_cost_memory() -> None:
    data = with_chunk(b"iCCP", b"icc\x00\x00" + zlib.compress(bytes(64 * 2**20), 1))
    tracemalloc.start()
    try:
        assert strip_chunks(data)[1] is None
        assert tracemalloc.get_traced_memory()[1] < 4 * MAX_PROFILE_BYTES
    finally:
        tracemalloc.stop()


def test_stripped_file_is_that_of_pillow() -> None:
    stripped, _ = strip_chunks(with_chunk(b"tEXt", TEXT))
    assert stripped == WHOLE
    assert Image.open(io.BytesIO(stripped)).size == PHOTO.size
