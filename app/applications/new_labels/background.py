"""The photos that a new label is compared with: known ones, or drawn from moments."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from app.core.checkpoint import KnownPhotos
from app.core.model import Moments, ZeroShotCalibration, l2_normalize

BackgroundKind = Literal["known_photos", "moments"]
DRAWN_PHOTOS = 1000
MIN_NEGATIVES = 100
PRESENT, ABSENT = 1, 0


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """Photos most of which do not show a new label: its negatives.

    Attributes:
        embeddings: (N, D) float32 unit rows.
        kind: known_photos, or moments if they were drawn from the mean and the covariance.
    """

    embeddings: Tensor
    kind: BackgroundKind


def make_background(
    known: KnownPhotos | None, calibration: ZeroShotCalibration | None, parents: Sequence[str]
) -> Background | None:
    """Choose the photos to compare a new label with.

    Args:
        known: the checkpoint's known photos.
        calibration: of its zero-shot scores, whose moments describe photos too.
        parents: the new label's. A photo without a parent does not show the label; one with all
            of them is left out, since it may.

    Returns:
        Known photos if there are enough, else drawn ones, else None.
    """
    if known is not None:
        present = _any_target(known, parents, PRESENT)
        absent = _any_target(known, parents, ABSENT)
        usable = ~present | absent
        if usable.sum() >= MIN_NEGATIVES:
            return Background(known.embeddings[usable], "known_photos")
    if calibration is None:
        return None
    return Background(_draw(calibration.photos), "moments")


def _any_target(known: KnownPhotos, ids: Sequence[str], target: int) -> Tensor:
    """Return (N,) whether a photo has a target for any of some labels."""
    found = torch.zeros(len(known.embeddings), dtype=torch.bool)
    for id in ids:
        if id in known.targets:
            found |= known.targets[id] == target
    return found


def _draw(moments: Moments) -> Tensor:
    """Draw (DRAWN_PHOTOS, D) unit rows from a normal distribution; the same at each call."""
    values, vectors = torch.linalg.eigh(moments.covariance.double())
    root = vectors * values.clamp(min=0).sqrt()
    noise = torch.randn(
        DRAWN_PHOTOS,
        len(values),
        generator=torch.Generator().manual_seed(0),
        dtype=torch.float64,
    )
    return l2_normalize(moments.mean.double() + noise @ root.T)
