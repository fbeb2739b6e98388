"""The file with the calibration of zero-shot scores."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from app.core.model import Moments, ZeroShotCalibration
from app.errors import CheckpointError

CALIBRATE_COMMAND = "mumic calibrate zero-shot"


def read_calibration(path: Path, dimension: int) -> ZeroShotCalibration:
    """Read a calibration of zero-shot scores.

    Args:
        path: the file, in a checkpoint directory.
        dimension: D, of the embeddings.

    Raises:
        CheckpointError: a tensor is missing, has another shape or impossible values.
    """
    try:
        # Cloned since the tensors map the file, which the command overwrites.
        return _parse({name: tensor.clone() for name, tensor in load_file(path).items()}, dimension)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: not a calibration of this checkpoint: {error}. Delete it, run mumic seal "
            f"{path.parent}, and fit a new one: {CALIBRATE_COMMAND}"
        ) from error


def _parse(tensors: dict[str, Tensor], dimension: int) -> ZeroShotCalibration:
    scale, offset = _tensor(tensors, "affine", 2).tolist()
    if scale <= 0:
        raise ValueError(f"affine: the scale must be above 0, got {scale:g}")
    return ZeroShotCalibration(
        _moments(tensors, "photos", dimension), _moments(tensors, "texts", dimension), scale, offset
    )


def _moments(tensors: dict[str, Tensor], name: str, dimension: int) -> Moments:
    mean = _tensor(tensors, f"{name}_mean", dimension)
    covariance = _tensor(tensors, f"{name}_covariance", dimension, dimension)
    variances = covariance.diagonal()
    if variances.min() < 0 or variances.max() <= 0:
        raise ValueError(f"{name}_covariance: no variance may be below 0, nor all be 0")
    return Moments(mean, covariance)


def _tensor(tensors: dict[str, Tensor], name: str, *shape: int) -> Tensor:
    """Return a tensor of a shape.

    Raises:
        ValueError: it is missing, has another shape, or has a NaN or an infinity.
    """
    if name not in tensors:
        raise ValueError(f"{name}: is missing")
    tensor = tensors[name]
    if tensor.shape != shape:
        raise ValueError(f"{name}: must have the shape {shape}, got {tuple(tensor.shape)}")
    if not tensor.isfinite().all():
        raise ValueError(f"{name}: has a NaN or an infinity")
    return tensor
