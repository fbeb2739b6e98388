"""RGB photos -> the model's input: squashed to a square, no crop, then normalised.

The same as open_clip's evaluation transform with `resize_mode="squash"`, in two steps, so that
uint8 pixels are what waits in queues and travels to the device.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import numpy as np
import torch
from PIL import Image
from pydantic import BaseModel, BeforeValidator, Field, ValidationError
from torch import Tensor

from app.errors import CheckpointError

Interpolation = Literal["bicubic", "bilinear"]

_RESAMPLING: dict[Interpolation, Image.Resampling] = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
}


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


def resize(image: Image.Image, preprocess: Preprocess) -> Tensor:
    """Squashes a whole photo to the model's square: antialiased, aspect ratio lost, no crop.

    Args:
        image: mode RGB, any size.
        preprocess: its size and interpolation are used.

    Returns:
        uint8 (3, S, S), 0 to 255.
    """
    side = preprocess.size_px
    square = image.resize((side, side), _RESAMPLING[preprocess.interpolation])
    return torch.from_numpy(np.array(square)).permute(2, 0, 1).contiguous()


def normalize(pixels: Tensor, preprocess: Preprocess, dtype: torch.dtype) -> Tensor:
    """Scales pixels as the model was trained: (x / 255 - mean) / std.

    Args:
        pixels: uint8 (B, 3, S, S), on any device.
        preprocess: its mean and std are used.
        dtype: of the result; the arithmetic itself is in float32.

    Returns:
        `dtype` (B, 3, S, S), on the same device, channels last in memory: convolutions want it so.
    """
    mean = torch.tensor(preprocess.mean, device=pixels.device).view(3, 1, 1)
    std = torch.tensor(preprocess.std, device=pixels.device).view(3, 1, 1)
    values = pixels.to(torch.float32, memory_format=torch.channels_last)
    return values.div_(255).sub_(mean).div_(std).to(dtype)
