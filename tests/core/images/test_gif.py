"""GIF files decode to what browsers show of the first frame."""

import struct

import numpy as np
import pytest

from tests.support.photos import encoded, sample
from tests.support.pixels import decoded

FRAME = sample("coffee").resize((60, 40)).quantize(32)


def gif_on_canvas(canvas: tuple[int, int], at: tuple[int, int], background: int) -> bytes:
    """Build a GIF whose only frame is smaller than its canvas."""
    whole = encoded(FRAME, "GIF")
    palette = 13 + (3 << (whole[10] & 7) + 1)
    frame = whole.index(b",", palette)
    screen = struct.pack("<HH", *canvas) + whole[10:11] + bytes([background])
    place = struct.pack("<HHHH", *at, *FRAME.size)
    return whole[:6] + screen + whole[12 : frame + 1] + place + whole[frame + 9 :]


@pytest.mark.parametrize("background", [0, 5])
def test_canvas_outside_the_first_frame_is_white(background: int) -> None:
    found = decoded(gif_on_canvas((100, 80), (20, 30), background)).pixels
    expected = np.full((80, 100, 3), 255, dtype=np.uint8)
    expected[30:70, 20:80] = np.asarray(FRAME.convert("RGB"))
    assert np.array_equal(found, expected)


def test_interlaced_gif_decodes() -> None:
    found = decoded(encoded(FRAME, "GIF", interlace=1)).pixels
    assert np.array_equal(found, np.asarray(FRAME.convert("RGB")))
