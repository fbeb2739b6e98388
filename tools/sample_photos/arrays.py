"""Vector arithmetic on arrays: colours and directions are the last axis."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def vector(*components: float) -> Array:
    """A colour (linear RGB) or a position, float64."""
    return np.array(components, dtype=np.float64)


def dot(a: Array, b: Array) -> Array:
    """Scalar products along the last axis."""
    product: Array = np.einsum("...i,...i->...", a, b)
    return product


def unit(vectors: Array) -> Array:
    """Vectors of length 1 along the last axis."""
    return vectors / np.sqrt(np.maximum(dot(vectors, vectors), 1e-30))[..., None]


def mix(a: ArrayLike, b: ArrayLike, amount: ArrayLike) -> Array:
    """Linear interpolation; an (N,) amount interpolates (N, 3) or (3,) colours."""
    share = np.asarray(amount, dtype=np.float64)
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if share.ndim and max(first.ndim, second.ndim) and 3 in (first.shape[-1:] + second.shape[-1:]):
        share = share[..., None]
    return first + (second - first) * share


def smoothstep(low: float, high: float, x: ArrayLike) -> Array:
    """A smooth step from 0 at `low` to 1 at `high`; falls if `low` is above `high`."""
    t = np.clip((np.asarray(x, dtype=np.float64) - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def reflected(directions: Array, normals: Array) -> Array:
    """Directions after a mirror with these normals, all (N, 3)."""
    return directions - 2.0 * dot(directions, normals)[:, None] * normals
