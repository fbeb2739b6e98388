"""RGB photos -> the model's input: squashed to a square, no crop, then normalised.

The same as open_clip's evaluation transform with `resize_mode="squash"`, in two steps, so that
uint8 pixels are what waits in queues and travels to the device. They lie channels last in memory
from the decoder to the first convolution, since both have them so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, BeforeValidator, Field, ValidationError
from torch import Tensor, nn

from app.errors import CheckpointError

Interpolation = Literal["bicubic", "bilinear"]


def _one_side(size: object) -> object:
    match size:
        case [width, height] if width == height:
            return width
    return size


_Side = Annotated[int, Field(strict=True, gt=0), BeforeValidator(_one_side)]
_Mean = Annotated[float, Field(strict=True, ge=0, le=1)]
_Std = Annotated[float, Field(strict=True, gt=0, le=1)]


class _Config(BaseModel):
    """What is supported of open_clip's `preprocess_cfg`."""

    size: _Side
    mode: Literal["RGB"] = "RGB"
    mean: tuple[_Mean, _Mean, _Mean]
    std: tuple[_Std, _Std, _Std]
    interpolation: Interpolation = "bicubic"
    resize_mode: Literal["squash"]  # to be said: open_clip's default crops


@dataclass(frozen=True, slots=True)
class Preprocess:
    """How a checkpoint wants its photos.

    Args:
        size_px: side S of the square that the model takes.
        mean: of each channel, in the range 0 to 1.
        std: of each channel, in the range 0 to 1, none of them 0.
        interpolation: how pixels are resampled, always antialiased.
        exif_orientation: whether photos are turned as their EXIF says.
    """

    size_px: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Interpolation
    exif_orientation: bool = True

    @classmethod
    def from_config(cls, preprocess_cfg: Mapping[str, object], exif_orientation: bool) -> Self:
        """Reads open_clip's `preprocess_cfg`.

        Args:
            preprocess_cfg: as in `open_clip_config.json`; `mode` and `interpolation` may be
                left out. `size` is a side or two equal ones, `resize_mode` is "squash".
            exif_orientation: whether photos are turned as their EXIF says.

        Raises:
            CheckpointError: a value is missing or not supported.
        """
        try:
            config = _Config.model_validate(preprocess_cfg)
        except ValidationError as error:
            first = error.errors()[0]
            raise CheckpointError(
                f"preprocess_cfg: {first['loc'][0]} is not supported: {first['msg']}, "
                f"found {preprocess_cfg.get(str(first['loc'][0]))!r}"
            ) from error
        return cls(config.size, config.mean, config.std, config.interpolation, exif_orientation)


def resize(photo: npt.NDArray[np.uint8], preprocess: Preprocess) -> Tensor:
    """Squashes a whole photo to the model's square: antialiased, aspect ratio lost, no crop.

    Torch's uint8 resampling computes what Pillow's does, up to 1 of 255, in a fifth of the time.

    Args:
        photo: uint8 (H, W, 3), any size.
        preprocess: its size and interpolation are used.

    Returns:
        uint8 (3, S, S), 0 to 255, channels last in memory.
    """
    # Of one batch first, then permuted: torch would not see that channels are last otherwise.
    pixels = torch.from_numpy(photo)[None].permute(0, 3, 1, 2)
    side = preprocess.size_px
    square = nn.functional.interpolate(
        pixels, size=(side, side), mode=preprocess.interpolation, antialias=True
    )
    return square[0]


def stack(pixels: Sequence[Tensor]) -> Tensor:
    """Puts photos into one batch; torch.stack would move each channel to a place of its own.

    Args:
        pixels: B photos as `resize` gives them.

    Returns:
        uint8 (B, 3, S, S), channels last in memory.
    """
    return torch.stack([photo.permute(1, 2, 0) for photo in pixels]).permute(0, 3, 1, 2)


def normalize(pixels: Tensor, preprocess: Preprocess, dtype: torch.dtype) -> Tensor:
    """Scales pixels as the model was trained: (x / 255 - mean) / std.

    Args:
        pixels: uint8 (B, 3, S, S), on any device.
        preprocess: its mean and std are used.
        dtype: of the result; the arithmetic itself is in float32.

    Returns:
        `dtype` (B, 3, S, S), on the same device, channels last in memory: convolutions want it so.
    """
    height, width = pixels.shape[2:]
    # Whole rows of the picture at a time: three numbers at a time take four times as long.
    mean = torch.tensor(preprocess.mean, device=pixels.device).repeat(width)
    std = torch.tensor(preprocess.std, device=pixels.device).repeat(width)
    rows = pixels.permute(0, 2, 3, 1).to(torch.float32).reshape(-1, height, 3 * width)
    values = rows.div_(255).sub_(mean).div_(std)
    return values.view(-1, height, width, 3).permute(0, 3, 1, 2).to(dtype)
