"""The quality of a photo for a gallery, measured on the model's input pixels."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Flaw = Literal["too_dark", "blurred", "text_heavy"]

# 0.299, 0.587 and 0.114 of red, green and blue (ITU-R BT.601), of values up to 255.
LUMA_WEIGHTS: NDArray[np.float32] = np.array([0.299, 0.587, 0.114], np.float32) / np.float32(255)
ROW_STEP = 4  # every fourth row and column is enough for the sharpness
BLUR_TAPS = 9  # width of the mean filter in pixels, as in Crete et al.
TILE_PX = 16  # holds one to three lines of readable text at an input of 224 to 336 px
MIN_EDGE = 0.12  # change of luma between neighbours that counts as the edge of a glyph
MIN_EDGES = 0.06  # rising edges, and falling edges, as a share of a tile's neighbours
PAPER_RANGE = 0.12  # distance in luma from a tile's lightest or darkest pixel: its background
MIN_PAPER = 0.4  # background as a share of a tile's pixels

# Between house photos, and copies of them that are dark, blurred by 1 %, or pages of text.
MIN_BRIGHTNESS = 0.1
MIN_SHARPNESS = 0.4
MAX_TEXT = 0.25
# Values above these make a photo no better.
GOOD_BRIGHTNESS = 0.4
GOOD_SHARPNESS = 0.65
GOOD_CONTRAST = 0.2


@dataclass(frozen=True, slots=True)
class Quality:
    """The quality of one photo at the size of the model's input, whatever its own size is.

    Attributes:
        sharpness: share of the changes of luma between neighbours that a further blur removes, in
            [0, 1]; a blurred photo has few left to remove.
        brightness: mean luma, in [0, 1].
        contrast: standard deviation of luma, in [0, 0.5].
        text: share of the photo that looks like text, in [0, 1]: tiles with many edges of both
            directions on one flat background.
    """

    sharpness: float
    brightness: float
    contrast: float
    text: float

    @property
    def flaw(self) -> Flaw | None:
        """Why the photo is unusable in a gallery; None if it is usable."""
        if self.brightness < MIN_BRIGHTNESS:
            return "too_dark"
        if self.sharpness < MIN_SHARPNESS:
            return "blurred"
        if self.text > MAX_TEXT:
            return "text_heavy"
        return None

    @property
    def score(self) -> float:
        """Mean of brightness, sharpness and contrast, each as a share of its good value, to 1."""
        shares = (
            self.brightness / GOOD_BRIGHTNESS,
            self.sharpness / GOOD_SHARPNESS,
            self.contrast / GOOD_CONTRAST,
        )
        return sum(min(share, 1.0) for share in shares) / len(shares)


def measure_quality(pixels: "Tensor") -> Quality:
    """Measure the quality of a photo; sharpness as in Crete et al. 2007, "The Blur Effect".

    Args:
        pixels: uint8 (3, S, S), the model's input.
    """
    colours: NDArray[np.float32] = pixels.permute(1, 2, 0).numpy().astype(np.float32)
    luma = colours @ LUMA_WEIGHTS
    sharpness = min(_row_sharpness(luma[::ROW_STEP]), _row_sharpness(luma.T[::ROW_STEP]))
    return Quality(sharpness, float(luma.mean()), float(luma.std()), _text_share(luma))


def describe_flaw(quality: Quality, flaw: Flaw) -> str:
    """Say how far a measure is from its limit."""
    match flaw:
        case "too_dark":
            return f"too dark: brightness {quality.brightness:.2f}, at least {MIN_BRIGHTNESS}"
        case "blurred":
            return f"blurred: sharpness {quality.sharpness:.2f}, at least {MIN_SHARPNESS}"
        case "text_heavy":
            return f"mostly text: {quality.text:.0%} of the photo, at most {MAX_TEXT:.0%}"


def _row_sharpness(luma: NDArray[np.float32]) -> float:
    """Return the share of the changes along the rows that a mean filter removes; 0 without any."""
    sums = np.cumsum(luma, axis=1)
    blurred = (sums[:, BLUR_TAPS:] - sums[:, :-BLUR_TAPS]) / BLUR_TAPS
    first = BLUR_TAPS // 2 + 1  # the centre of the first window
    changes = np.abs(np.diff(luma[:, first : first + blurred.shape[1]], axis=1))
    kept = np.abs(np.diff(blurred, axis=1))
    total = float(changes.sum())
    return float(np.maximum(changes - kept, 0).sum()) / total if total else 0.0


def _text_share(luma: NDArray[np.float32]) -> float:
    """Return the share of the tiles that look like text."""
    count = len(luma) // TILE_PX
    if not count:
        return 0.0
    used = luma[: count * TILE_PX, : count * TILE_PX].reshape(count, TILE_PX, count, TILE_PX)
    tiles = used.transpose(0, 2, 1, 3).reshape(-1, TILE_PX * TILE_PX)  # one row a tile
    changes = np.diff(tiles.reshape(-1, TILE_PX, TILE_PX), axis=2).reshape(len(tiles), -1)
    lightest, darkest = tiles.max(axis=1, keepdims=True), tiles.min(axis=1, keepdims=True)
    paper = np.maximum(
        _share(tiles > lightest - PAPER_RANGE), _share(tiles < darkest + PAPER_RANGE)
    )
    edges = np.minimum(_share(changes > MIN_EDGE), _share(changes < -MIN_EDGE))
    return float(((edges >= MIN_EDGES) & (paper >= MIN_PAPER)).mean())


def _share(values: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the share of true values of each row."""
    shares: NDArray[np.float64] = np.count_nonzero(values, axis=1) / values.shape[1]
    return shares
